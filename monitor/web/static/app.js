// Refreshes the page by itself: fetches it again and replaces only the regions that changed,
// so that focus, selection and scroll stay where they are.
"use strict";

// On a phone filters that nothing was chosen in are folded.
if (matchMedia("(max-width: 760px)").matches) {
  for (const fold of document.querySelectorAll(".filters .fold")) {
    if ([...fold.querySelectorAll("select")].some((one) => one.selectedIndex > 0)) continue;
    const unfold = Object.assign(document.createElement("button"), { type: "button", textContent: "Filter and sort" });
    unfold.className = "quiet";
    unfold.onclick = () => {
      fold.hidden = false;
      fold.querySelector("select").focus();
      unfold.remove();
    };
    fold.hidden = true;
    fold.before(unfold);
  }
}

const EVERY_MS = 10_000;
// Where the page is, if it was the answer to a form that was sent elsewhere.
const place = document.body.dataset.place || location.href;
const pulse = document.getElementById("pulse");

// Whoever is about to send a form keeps it as it is.
function inUse(region) {
  const fields = region.querySelectorAll("input:focus, select:focus, textarea:focus, details.confirm[open]");
  return fields.length > 0 || [...region.querySelectorAll("input, textarea")].some((one) => one.value !== one.defaultValue);
}

// In a table whose rows have names, only the rows that changed are replaced.
function replaceRows(region, next) {
  const known = new Map([...region.children].map((row) => [row.dataset.row, row]));
  [...next.children].forEach((row, place) => {
    const was = known.get(row.dataset.row);
    const wanted = was && was.isEqualNode(row) ? was : document.importNode(row, true);
    if (region.children[place] !== wanted) region.insertBefore(wanted, region.children[place] ?? null);
    if (was && was !== wanted) was.remove();
  });
  while (region.children.length > next.children.length) region.lastElementChild.remove();
}

function replaceChanged(fresh) {
  for (const region of document.querySelectorAll("[data-live]")) {
    const next = fresh.querySelector(`[data-live="${region.dataset.live}"]`);
    if (!next || next.isEqualNode(region) || inUse(region)) continue;
    const focused = region.contains(document.activeElement) ? document.activeElement.id : "";
    const folds = new Map([...region.querySelectorAll("details[id]")].map((one) => [one.id, one.open]));
    region.className = next.className;
    if ([...region.children, ...next.children].every((row) => row.dataset.row)) replaceRows(region, next);
    else region.replaceChildren(...document.importNode(next, true).childNodes);
    for (const fold of region.querySelectorAll("details[id]")) fold.open = folds.get(fold.id) ?? fold.open;
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }
  document.title = fresh.title;
}

function structureChanged(fresh) {
  const names = (root) => [...root.querySelectorAll("[data-live]")].map((one) => one.dataset.live + one.tagName).join();
  return names(fresh) !== names(document);
}

async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch(place, { headers: { Accept: "text/html" } });
    if (answer.redirected) return location.assign(answer.url);
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    sayHere(fresh);
    if (structureChanged(fresh)) return place === location.href ? location.reload() : location.assign(place);
    replaceChanged(fresh);
    pulse.textContent = "";
    pulse.classList.remove("lost");
  } catch {
    if (!pulse.classList.contains("lost")) {
      pulse.textContent = `No answer since ${new Date().toISOString().slice(11, 16)} UTC`;
      pulse.classList.add("lost");
    }
  }
}

setInterval(refresh, EVERY_MS);
document.addEventListener("visibilitychange", refresh);
