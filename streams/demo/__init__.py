"""What `heardback demo` plays: two stories, a slice of a real ticket log, real bounce mails, its promises."""
