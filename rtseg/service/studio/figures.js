// What the stream costs and how late it is: the server's figures, the browser's own, and a minute of both as a chart.

const SPAN = 120; // two a second

export class Figures {
  #points = []; #before = null; #shown = 0; #at; #canvas;
  delay = 0;

  constructor(root) {
    this.#at = (name) => root.querySelector(`#f-${name}`);
    this.#canvas = root.querySelector("#chart");
  }

  /** From the moment a picture's last packet came until it is seen, where the browser says so of each picture. */
  follow(video) {
    if (!video.requestVideoFrameCallback) return;
    const look = (_now, { receiveTime, expectedDisplayTime }) => {
      if (receiveTime) this.#shown += 0.1 * (expectedDisplayTime - receiveTime - this.#shown);
      video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
  }

  clear(text) {
    for (const name of ["fps", "delay", "rtt", "server", "inference", "drops"]) this.#at(name).textContent = "–";
    this.#at("more").textContent = text;
    this.#points = [];
    this.#before = null;
    this.#draw();
  }

  /** stats: what the server told; connection: the browser's end. */
  async show(stats, connection) {
    const mine = await browserFigures(connection);
    const step = this.#before && difference(mine, this.#before);
    this.#before = mine;
    // Everything between the lens and the screen that somebody measures: encoding and sending here, the way there and
    // back, the server, its encoder, and waiting, decoding and drawing here. The server's receiver knows that a frame is
    // whole when the next one begins: a frame's time more. What the camera itself takes is not in it.
    const play = this.#shown || step?.play, fps = step?.fps ?? stats.fps;
    const parts = step && [step.encode, step.pace, mine.rtt * 1000, 1000 / stats.fps, stats.latency.p50, stats.encode ?? 0, play];
    this.delay = parts?.every(Number.isFinite) ? parts.reduce((sum, part) => sum + part, 0) : 0;
    this.#set("fps", fps.toFixed(0));
    this.#set("delay", this.delay ? this.delay.toFixed(0) : "–", "ms");
    this.#set("rtt", Number.isFinite(mine.rtt) ? (mine.rtt * 1000).toFixed(1) : "–", "ms");
    this.#set("server", stats.latency.p50.toFixed(1), "ms");
    this.#set("inference", stats.inference === null ? "–" : stats.inference.toFixed(1), "ms");
    this.#set("drops", String(stats.dropped + mine.dropped));
    const size = stats.size ? `${stats.size[0]} × ${stats.size[1]}` : "";
    const saving = stats.rung === "full" ? "" : `, saving time (${stats.rung})`;
    this.#at("more").textContent = `${size} by ${stats.model}; 95 % within ${stats.latency.p95.toFixed(0)} ms in the server${saving}`;
    if (this.delay) this.#points = [...this.#points.slice(1 - SPAN), { fps, delay: this.delay }];
    this.#draw();
  }

  #set(name, value, unit = "") {
    const small = Object.assign(document.createElement("small"), { textContent: unit && ` ${unit}` });
    this.#at(name).replaceChildren(value, small);
  }

  #draw() {
    const canvas = this.#canvas, scale = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = width * scale;
    canvas.height = height * scale;
    const context = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    context.scale(scale, scale);
    const highest = Math.max(150, ...this.#points.map((point) => point.delay));
    this.#line(context, (point) => point.fps / 40, style.getPropertyValue("--line"), width, height);
    this.#line(context, (point) => point.delay / highest, style.getPropertyValue("--accent"), width, height);
    if (!this.#points.length) return;
    context.fillStyle = style.getPropertyValue("--soft");
    context.font = "11px system-ui";
    context.fillText(`delay, up to ${highest.toFixed(0)} ms`, 10, 16);
  }

  #line(context, level, colour, width, height) {
    context.beginPath();
    this.#points.forEach((point, place) => {
      const x = width - ((this.#points.length - 1 - place) * width) / (SPAN - 1);
      context.lineTo(x, height - 6 - Math.min(1, level(point)) * (height - 16));
    });
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.lineJoin = "round";
    context.stroke();
  }
}

async function browserFigures(connection) {
  const found = { rtt: NaN, dropped: 0, time: 0 };
  if (!connection) return found;
  for (const report of (await connection.getStats()).values()) {
    if (report.type === "candidate-pair" && report.nominated && report.currentRoundTripTime !== undefined) {
      found.rtt = report.currentRoundTripTime;
    } else if (report.type === "outbound-rtp" && report.kind === "video") {
      Object.assign(found, { encode: report.totalEncodeTime, encoded: report.framesEncoded });
      Object.assign(found, { pace: report.totalPacketSendDelay, packets: report.packetsSent });
    } else if (report.type === "inbound-rtp" && report.kind === "video") {
      const play = report.totalProcessingDelay ?? report.jitterBufferDelay + report.totalDecodeTime;
      Object.assign(found, { play, decoded: report.framesDecoded, dropped: report.framesDropped ?? 0, time: report.timestamp });
    }
  }
  return found;
}

/** Means of the time between two looks, in ms. */
function difference(now, before) {
  const mean = (sum, count) => ((now[sum] - before[sum]) / Math.max(1, now[count] - before[count])) * 1000;
  return {
    encode: mean("encode", "encoded"),
    pace: mean("pace", "packets"),
    play: mean("play", "decoded"),
    fps: ((now.decoded - before.decoded) / (now.time - before.time)) * 1000,
  };
}
