// The backgrounds to choose from: blur, colours, gradients that are drawn here, and a picture of one's own.

const COLOURS = [["Green", "#00b140"], ["Slate", "#2f3640"], ["Cream", "#efe6d8"]];

// Each draws itself on a canvas: (context, width, height).
const GRADIENTS = {
  Dawn: linear(160, ["#2b2d5b", "#a3557a", "#f3a66d", "#fbe0b0"]),
  Sea: linear(180, ["#cfe8f3", "#7fb9d6", "#2d6f97", "#123b56"]),
  Grove: spots("#1f3b2d", [["#6fa36a", 0.25, 0.3, 0.55], ["#c9d8a0", 0.75, 0.2, 0.4], ["#12261c", 0.6, 0.95, 0.7]]),
  Studio: spots("#3a4250", [["#aeb8c8", 0.5, 0.4, 0.75], ["#1d222b", 0.5, 1.25, 0.7]]),
};

/** A tile a choice, in `box`; calls onChoose({kind, value}) with kind none, blur, colour, gradient or own. */
export class Backdrops {
  #box; #chosen; #own = null;

  constructor(box, onChoose) {
    this.#box = box;
    this.#tile("none", "None", "", (swatch) => swatch.classList.add("t-none"));
    this.#tile("blur", "Blur", "", (swatch) => swatch.classList.add("t-blur"));
    for (const [name, value] of COLOURS) this.#tile("colour", name, value, (swatch) => (swatch.style.background = value));
    this.#tile("colour", "Other", "other", (swatch) => {
      swatch.style.background = "conic-gradient(#e5484d, #f5d90a, #30a46c, #0091ff, #8e4ec6, #e5484d)";
    });
    for (const name of Object.keys(GRADIENTS)) {
      this.#tile("gradient", name, name, (swatch) => (swatch.style.backgroundImage = `url(${draw(name, 96, 72).toDataURL()})`));
    }
    this.choose("blur");
    box.addEventListener("change", ({ target }) => {
      this.#chosen = { kind: target.dataset.kind, value: target.value };
      onChoose(this.#chosen);
    });
  }

  get chosen() { return this.#chosen; }

  choose(kind, value = "") {
    const input = [...this.#box.querySelectorAll("input")].find((each) => each.dataset.kind === kind && each.value === value);
    if (input) input.checked = true;
    this.#chosen = { kind, value };
  }

  /** A tile for the picture that people brought, chosen. */
  own(blob) {
    if (!this.#own) this.#own = this.#tile("own", "Mine", "", () => {});
    const swatch = this.#own.querySelector("span");
    if (swatch.dataset.address) URL.revokeObjectURL(swatch.dataset.address);
    swatch.dataset.address = URL.createObjectURL(blob);
    swatch.style.backgroundImage = `url(${swatch.dataset.address})`;
    this.choose("own");
  }

  enable(able) {
    for (const input of this.#box.querySelectorAll("input")) input.disabled = !able && input.dataset.kind !== "none";
    if (!able) this.choose("none");
  }

  #tile(kind, name, value, paint) {
    const label = document.createElement("label");
    label.className = "tile";
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "background", value });
    input.dataset.kind = kind;
    const swatch = document.createElement("span");
    paint(swatch);
    label.append(input, swatch, name);
    this.#box.append(label);
    return label;
  }
}

/** A gradient as a PNG of the camera's shape. */
export function gradient(name, width, height) {
  return new Promise((done) => draw(name, width, height).toBlob(done, "image/png"));
}

function draw(name, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  GRADIENTS[name](canvas.getContext("2d"), width, height);
  return canvas;
}

function linear(degrees, stops) {
  return (context, width, height) => {
    const angle = ((degrees - 90) * Math.PI) / 180, reach = Math.abs(width * Math.cos(angle)) / 2 + Math.abs(height * Math.sin(angle)) / 2;
    const [x, y] = [Math.cos(angle) * reach, Math.sin(angle) * reach];
    const made = context.createLinearGradient(width / 2 - x, height / 2 - y, width / 2 + x, height / 2 + y);
    stops.forEach((stop, place) => made.addColorStop(place / (stops.length - 1), stop));
    context.fillStyle = made;
    context.fillRect(0, 0, width, height);
  };
}

function spots(ground, list) {
  return (context, width, height) => {
    context.fillStyle = ground;
    context.fillRect(0, 0, width, height);
    for (const [colour, x, y, size] of list) {
      const made = context.createRadialGradient(x * width, y * height, 0, x * width, y * height, size * width);
      made.addColorStop(0, colour);
      made.addColorStop(1, `${colour}00`);
      context.fillStyle = made;
      context.fillRect(0, 0, width, height);
    }
  };
}
