// Seek by click on a frame, and the place of the playing video on the timeline. Everything else is the server's.
"use strict";

function videoOf(element) {
  const tab = element.closest("[data-tab]") ?? element.closest('[role="tabpanel"]') ?? document;
  const position = Number(element.closest("[data-visual]")?.dataset.visual ?? 0);
  return tab.querySelectorAll(".e-stage")[position]?.querySelector("video");
}

document.addEventListener("click", (event) => {
  const frame = event.target.closest?.("[data-seek]");
  const video = frame && videoOf(frame);
  if (!video) return;
  video.pause();
  video.currentTime = Number(frame.dataset.seek) + Number(video.dataset.offset);
  const { top, bottom } = video.getBoundingClientRect();
  if (top < 0 || bottom > innerHeight) video.scrollIntoView({ block: "center", behavior: "smooth" });
});

for (const name of ["timeupdate", "seeked"]) {
  document.addEventListener(name, (event) => {
    if (event.target.tagName !== "VIDEO") return;
    for (const track of document.querySelectorAll(".e-track")) {
      if (videoOf(track) !== event.target) continue;
      const place = (event.target.currentTime - Number(event.target.dataset.offset)) / Number(track.dataset.length);
      const mark = track.querySelector("u");
      mark.style.left = `${100 * Math.min(Math.max(place, 0), 1)}%`;
      mark.style.display = "block";
    }
  }, true); // these events do not bubble
}
