// The connection to the server: made, watched, and made again when it drops.

const API = new URL("../v1/", location.href);
const FIRST_PAUSE = 500, LONGEST_PAUSE = 8000; // ms until it is tried again, doubled each time
const CONNECT = 12000, SILENCE = 4000; // ms without a connection, and without figures, after which it is given up

export const token = {
  get: () => sessionStorage.getItem("rtseg-token") ?? "",
  set: (value) => sessionStorage.setItem("rtseg-token", value),
};

export class Refused extends Error {
  constructor(status, text, after) {
    super(text);
    this.status = status;
    this.after = after;
  }
}

/** Ask the service; throws Refused with its words, or TypeError where nobody answers. */
export async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  const answer = await fetch(new URL(path, API), { ...options, headers, cache: "no-store" });
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const said = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, said.error ?? answer.statusText, Number(answer.headers.get("Retry-After")) * 1000);
}

/**
 * Events: "state" (detail {state, text, seconds}), "picture" (a MediaStream), "open" (the server obeys now),
 * "scene", "stats", "error" (what the server says). States: idle, connecting, live, waiting, full, token, refused.
 */
export class Link extends EventTarget {
  #wanted = null; #pc = null; #channel = null; #id = null; #timer = 0; #failures = 0; #heard = 0; #began = 0; #round = 0;
  state = "idle";

  constructor() {
    super();
    setInterval(() => this.#watch(), 500);
    addEventListener("online", () => this.state === "waiting" && this.#connect());
    addEventListener("pagehide", () => this.#leave());
  }

  get connection() { return this.#pc; }
  get id() { return this.#id; }

  /** first: gives {model, scene} for each attempt. */
  open(track, first) {
    this.#wanted = { track, first };
    this.#failures = 0;
    return this.#connect();
  }

  async replace(track) {
    if (!this.#wanted) return;
    this.#wanted.track = track;
    await this.#pc?.getSenders().find((sender) => sender.track?.kind !== "audio")?.replaceTrack(track);
  }

  send(message) {
    if (this.#channel?.readyState !== "open") return false;
    this.#channel.send(JSON.stringify(message));
    return true;
  }

  close() {
    this.#wanted = null;
    this.#drop();
    this.#become("idle");
  }

  retry() {
    if (this.#wanted) this.#connect();
  }

  async #connect() {
    this.#drop();
    const round = this.#round, { track, first } = this.#wanted;
    this.#become("connecting", this.#failures ? "Connecting again" : "Connecting");
    this.#began = performance.now();
    const pc = (this.#pc = new RTCPeerConnection({ iceServers: [] }));
    const channel = (this.#channel = pc.createDataChannel("rtseg"));
    channel.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    channel.onopen = () => this.#emit("open");
    channel.onclose = () => round === this.#round && this.#again("The connection was closed");
    pc.ontrack = ({ track: returned, receiver }) => {
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0; // a mirror, not a film
      this.#emit("picture", new MediaStream([returned]));
    };
    pc.onconnectionstatechange = () => {
      if (round === this.#round && pc.connectionState === "failed") this.#again("The connection dropped");
    };
    try {
      const { sender } = pc.addTransceiver(track, { direction: "sendrecv" });
      await pc.setLocalDescription();
      await gathered(pc);
      if (round !== this.#round) return;
      const body = JSON.stringify({ sdp: pc.localDescription.sdp, ...(await first()) });
      const answer = await ask("webrtc/offer", { method: "POST", body, headers: { "Content-Type": "application/json" } });
      if (round !== this.#round) {
        ask(`webrtc/${answer.id}`, { method: "DELETE" }).catch(() => {});
        return;
      }
      this.#id = answer.id;
      await pc.setRemoteDescription({ type: "answer", sdp: quickStart(answer.sdp) });
      const parameters = sender.getParameters();
      parameters.degradationPreference = "maintain-framerate";
      if (parameters.encodings?.[0]) parameters.encodings[0].maxBitrate = 2_500_000;
      await sender.setParameters(parameters).catch(() => {});
    } catch (error) {
      if (round !== this.#round) return;
      if (!(error instanceof Refused)) this.#again("The server does not answer");
      else if (error.status === 401) this.#end("token", error.message);
      else if (error.status === 503) this.#again("The server is full", "full", error.after);
      else if (error.status >= 500 || error.status === 408) this.#again(error.message);
      else this.#end("refused", error.message);
    }
  }

  #hear(message) {
    this.#heard = performance.now();
    if (message.type === "stats" && this.state === "connecting") {
      this.#failures = 0;
      this.#become("live");
    }
    this.#emit(message.type, message);
  }

  #watch() {
    const now = performance.now();
    if (this.state === "live" && now - this.#heard > SILENCE) this.#again("The connection dropped");
    if (this.state === "connecting" && now - this.#began > CONNECT) {
      this.#again("No way to the server was found: a firewall may keep UDP from it");
    }
  }

  #again(text, state = "waiting", least = 0) {
    this.#drop();
    const pause = Math.max(least || 0, Math.min(FIRST_PAUSE * 2 ** this.#failures, LONGEST_PAUSE) * (0.75 + Math.random() / 2));
    this.#failures += 1;
    this.#timer = setTimeout(() => this.#wanted && this.#connect(), pause);
    this.#become(state, text, Math.ceil(pause / 1000));
  }

  #end(state, text) {
    this.#drop();
    this.#become(state, text);
  }

  #drop() {
    this.#round += 1;
    clearTimeout(this.#timer);
    this.#leave();
    if (this.#channel) this.#channel.onclose = this.#channel.onmessage = null;
    this.#pc?.close();
    this.#pc = this.#channel = null;
  }

  #leave() {
    if (this.#id) ask(`webrtc/${this.#id}`, { method: "DELETE", keepalive: true }).catch(() => {});
    this.#id = null;
  }

  #become(state, text = "", seconds = 0) {
    this.state = state;
    this.#emit("state", { state, text, seconds });
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

function gathered(pc) {
  return new Promise((done) => {
    const look = () => pc.iceGatheringState === "complete" && done();
    pc.addEventListener("icegatheringstatechange", look);
    setTimeout(done, 1500);
    look();
  });
}

// Chromium begins with 300 kbit/s and would show a mosaic for seconds; others ignore the line.
function quickStart(sdp) {
  return sdp.replace(/a=rtpmap:(\d+) VP8\/90000\r\n/g, "$&a=fmtp:$1 x-google-start-bitrate=1500;x-google-min-bitrate=400\r\n");
}
