// Writes what a time is where the reader is, beside UTC: in the footer, and at each time of a fact or event.
"use strict";

const short = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const long = { ...short, weekday: "short", day: "numeric", month: "short" };
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const BESIDE = ".facts time, .past time, .why time, .examples time";

function sayNow() {
  const now = new Date();
  const here = now.toLocaleTimeString("en-GB", short);
  document.getElementById("zone").textContent = `· now ${now.toISOString().slice(11, 16)} UTC, ${here} ${zone}`;
}

// The page as it comes at a refresh is written on in the same way, so that what did not change stays.
function sayHere(root) {
  if (zone === "UTC") return;
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    time.title = `${at.toISOString().slice(0, 16).replace("T", " ")} UTC\n${at.toLocaleString("en-GB", long)} ${zone}`;
    if (!time.matches(BESIDE)) continue;
    const beside = root.createElement("span");
    beside.className = "here";
    const told = time.textContent.includes(":") && at.getDate() === at.getUTCDate();
    const day = told || at.toDateString() === new Date().toDateString() ? {} : { day: "numeric", month: "short" };
    beside.textContent = ` (${at.toLocaleString("en-GB", { ...short, ...day, timeZoneName: "short" })})`;
    time.append(beside);
  }
}

if (zone !== "UTC") {
  sayHere(document);
  sayNow();
  setInterval(sayNow, 60_000);
}
