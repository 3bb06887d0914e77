// Who is shown: everybody, the largest person, or the one that was clicked on.

const PLACE = /^\d/;

/** Calls onChange(wish, words): what is wished now, {subject, keep_held}, and what to say of it. */
export class People {
  #menu; #held; #place = null; #onChange;

  constructor({ menu, held, video }, onChange) {
    this.#menu = menu;
    this.#held = held;
    this.#onChange = onChange;
    menu.onchange = () => this.#changed();
    held.onchange = () => this.#changed();
    video.addEventListener("click", (event) => this.#choose(placeIn(video, event)));
  }

  get wish() {
    const who = this.#menu.value;
    return { subject: who !== "chosen" ? who : (this.#place ?? "all"), keep_held: this.#held.checked };
  }

  /** The server says what it shows: a place is elsewhere once the picture is mirrored. */
  told({ subject }) {
    if (PLACE.test(subject) && this.#menu.value === "chosen") this.#place = subject;
  }

  #choose(place) {
    if (!place) return;
    this.#place = place.map((each) => each.toFixed(4)).join(",");
    this.#menu.value = "chosen";
    this.#changed();
  }

  #changed() {
    const who = this.#menu.value;
    const waits = who === "chosen" && !this.#place;
    this.#onChange(this.wish, waits ? "Click on somebody in the picture." : who === "chosen" ? "Only who you clicked on is shown." : "");
  }
}

/** Where in the picture a click was, 0 to 1 both ways; null beside it. */
function placeIn(video, event) {
  const { videoWidth, videoHeight } = video, box = video.getBoundingClientRect();
  if (!videoWidth || !box.width) return null;
  const scale = Math.min(box.width / videoWidth, box.height / videoHeight); // as `object-fit: contain` has it
  const x = (event.clientX - box.left - box.width / 2) / (videoWidth * scale) + 0.5;
  const y = (event.clientY - box.top - box.height / 2) / (videoHeight * scale) + 0.5;
  return x >= 0 && x <= 1 && y >= 0 && y <= 1 ? [x, y] : null;
}
