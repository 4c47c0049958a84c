"""Stories as data: who did what when, and what must have fired, resolved and been recorded by when."""
