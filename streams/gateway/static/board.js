// Keeps the board up to date: takes what the server sends, row by row, already drawn and escaped there.
// The page is complete without this; it only spares reloading. Nothing is computed here, no clock is read.
"use strict";

(() => {
  const RETRY_MS = 5000;
  const board = document.getElementById("board");
  const rows = document.getElementById("rows");
  const connection = document.getElementById("connection");
  let version = board.dataset.version;
  let source = null;
  let timer = null;

  function open() {
    close();
    const changes = board.dataset.changes;
    source = new EventSource(changes + (changes.includes("?") ? "&" : "?") + "version=" + version);
    source.addEventListener("open", () => say("live, as of", "on"));
    source.addEventListener("board", (event) => take(JSON.parse(event.data)));
    source.addEventListener("now", (event) => text("now", JSON.parse(event.data)));
    source.addEventListener("error", () => {
      say("connection lost, trying again; as of", "off");
      if (source && source.readyState === EventSource.CLOSED) {
        refused();
      }
    });
  }

  // The server answered, and said no: the browser does not try again by itself. A session that is over needs the form.
  function refused() {
    timer = setTimeout(open, RETRY_MS);
    fetch(location.href, { method: "HEAD" })
      .then((answer) => answer.status === 401 && location.reload())
      .catch(() => undefined); // away again: the timer tries
  }

  function close() {
    clearTimeout(timer);
    if (source) source.close();
    source = null;
  }

  function take(change) {
    version = change.version;
    for (const [name, html] of Object.entries(change.parts)) {
      if (name === "notices" || name === "summary") parts(name, html);
      else text(name, html);
    }
    const focused = rows.contains(document.activeElement) ? document.activeElement : null;
    const known = new Map([...rows.rows].map((row) => [row.dataset.customer, row]));
    const wanted = new Set(change.order);
    for (const [customer, row] of known) if (!wanted.has(customer)) row.remove();
    let place = rows.firstElementChild;
    for (const customer of change.order) {
      const before = known.get(customer);
      const html = Object.hasOwn(change.rows, customer) ? change.rows[customer] : null;
      let row = before;
      if (html !== null) {
        row = drawn(html);
        if (before) {
          if (place === before) place = row;
          before.replaceWith(row);
        } else row.classList.add("new");
      }
      if (!row) continue;
      if (row === place) place = place.nextElementSibling;
      else rows.insertBefore(row, place);
    }
    if (focused && !focused.isConnected) keepFocus(focused);
  }

  // Whoever is on a link of a row that was drawn anew stays on that link.
  function keepFocus(focused) {
    const same = [...rows.querySelectorAll("a")].find((link) => link.href === focused.href);
    (same || document.getElementById("main")).focus({ preventScroll: true });
  }

  function drawn(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content.firstElementChild;
  }

  function parts(id, html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    document.getElementById(id).replaceChildren(template.content);
  }

  function text(id, words) {
    const element = document.getElementById(id);
    if (element && element.textContent !== words) element.textContent = words;
  }

  function say(words, state) {
    connection.textContent = words;
    connection.className = "connection " + state;
    document.getElementById("reload").hidden = true;
  }

  // A hidden tab holds no connection: browsers allow six to one server.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => event.persisted && open());
  if (!document.hidden) open();
})();
