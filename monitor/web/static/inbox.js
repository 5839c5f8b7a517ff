// Walks the inbox by keyboard: j and k go from incident to incident, / to the field for an adapter.
"use strict";

function step(by) {
  const links = [...document.querySelectorAll("#inbox tbody th a")];
  if (!links.length) return;
  const at = links.indexOf(document.activeElement);
  const next = at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + by, 0), links.length - 1);
  links[next].focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "/") document.querySelector("[name=adapter]").focus();
  else return;
  event.preventDefault();
});
