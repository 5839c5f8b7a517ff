// Says what a time is where the reader is, beside UTC: in the footer, and of each time under the pointer.
"use strict";

const short = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const long = { ...short, weekday: "short", day: "numeric", month: "short" };
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

function sayNow() {
  const now = new Date();
  const here = now.toLocaleTimeString("en-GB", short);
  document.getElementById("zone").textContent = `· now ${now.toISOString().slice(11, 16)} UTC, ${here} ${zone}`;
}

document.addEventListener("pointerover", (event) => {
  const time = event.target.closest("time[datetime]");
  if (!time) return;
  const at = new Date(time.dateTime);
  time.title = `${at.toISOString().slice(0, 16).replace("T", " ")} UTC\n${at.toLocaleString("en-GB", long)} ${zone}`;
});

if (zone !== "UTC") {
  sayNow();
  setInterval(sayNow, 60_000);
}
