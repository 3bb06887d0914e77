"use strict";
// Moves through events by keyboard and pointer, and plays their clips. All that is shown is in the page already.
(() => {
  const data = JSON.parse(document.getElementById("drive").textContent);
  const events = [...document.querySelectorAll(".event")];
  const video = document.querySelector("video");
  const now = document.getElementById("now");
  const cursors = [...document.querySelectorAll(".cursor")];
  let chosen = -1;
  let until = null;

  const clock = (seconds) => {
    const whole = Math.max(0, Math.round(seconds));
    const two = (number) => String(number).padStart(2, "0");
    const minutes = Math.floor(whole / 60);
    return minutes < 60 ? `${minutes}:${two(whole % 60)}` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
  };

  // Where all charts show the time.
  const point = (seconds) => {
    const at = `${(100 * (seconds - data.start)) / data.length}%`;
    for (const line of cursors) {
      line.setAttribute("x1", at);
      line.setAttribute("x2", at);
    }
  };

  const show = (source, from, to, told) => {
    if (!video) return;
    now.textContent = told;
    until = to;
    if (video.dataset.source !== source) {
      video.dataset.source = source;
      video.preload = "auto";
      video.src = source;
    }
    video.currentTime = from;
  };

  const choose = (index, { play = false, focus = true } = {}) => {
    if (!events.length) return;
    chosen = Math.min(Math.max(index, 0), events.length - 1);
    events.forEach((event, at) => event.setAttribute("aria-current", String(at === chosen)));
    const event = events[chosen];
    if (focus) event.focus({ preventScroll: true });
    event.scrollIntoView({ block: "nearest" });
    const told = data.events[chosen];
    point(told.start);
    const clip = told.clip === null ? null : data.clips[told.clip];
    if (clip) show(clip, Math.max(0, told.at - 3), null, event.dataset.title);
    else if (data.video) show(data.video, Math.max(0, told.start - data.zero - 3), told.end - data.zero + 3, event.dataset.title);
    if (play && video && video.src) video.play().catch(() => {});
  };

  events.forEach((event, index) => event.addEventListener("click", () => choose(index, { play: true })));
  for (const button of document.querySelectorAll(".strip button")) {
    button.addEventListener("click", () => {
      const seconds = Number(button.dataset.seconds);
      point(seconds);
      if (data.video) show(data.video, Math.max(0, seconds - data.zero), null, clock(seconds));
    });
  }
  if (video) {
    video.addEventListener("timeupdate", () => {
      if (until !== null && video.currentTime > until) {
        until = null;
        video.pause();
      }
    });
    video.addEventListener("error", () => {
      const told = data.events[chosen];
      if (told && told.clip !== null && data.video && video.dataset.source !== data.video) {
        told.clip = null; // of a codec that this browser does not have: the drive's own video may be of another
        choose(chosen, { play: true, focus: false });
        return;
      }
      now.textContent = "This clip cannot be played here.";
    });
  }

  document.addEventListener("keydown", (press) => {
    if (press.ctrlKey || press.altKey || press.metaKey || press.target.closest("video, a, input")) return;
    const plain = ["ArrowDown", "ArrowUp", "Home", "End"].includes(press.key);
    if (plain && !press.target.closest(".event")) return; // elsewhere these scroll
    switch (press.key) {
      case "j": case "ArrowDown": choose(chosen + 1); break;
      case "k": case "ArrowUp": choose(chosen < 0 ? 0 : chosen - 1); break;
      case "Home": choose(0); break;
      case "End": choose(events.length - 1); break;
      case "n": {
        const next = data.events.findIndex((event, at) => at > chosen && event.severity === "critical");
        if (next >= 0) choose(next);
        break;
      }
      case "p":
        if (video && video.src) { if (video.paused) video.play().catch(() => {}); else video.pause(); }
        break;
      default: return;
    }
    press.preventDefault();
  });

  const asked = events.findIndex((event) => `#${event.id}` === location.hash);
  if (asked >= 0) choose(asked);
})();
