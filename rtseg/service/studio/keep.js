// What people keep: snapshots and recordings of the picture that came back.

const KINDS = ["video/webm;codecs=vp8,opus", "video/webm;codecs=vp8", "video/webm", "video/mp4"];

/** Offer a file for download, and leave a link to it. */
export function save(blob, name, list) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.textContent = `${name} (${(blob.size / 1e6).toFixed(1)} MB)`;
  const item = document.createElement("li");
  item.append(link);
  list.prepend(item);
  while (list.children.length > 4) {
    URL.revokeObjectURL(list.lastElementChild.firstElementChild.href);
    list.lastElementChild.remove();
  }
  link.click();
}

export function snapshot(video) {
  const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

export function fileName(kind) {
  const now = new Date(), two = (number) => String(number).padStart(2, "0");
  const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
  return `rtseg-${day}-${two(now.getHours())}${two(now.getMinutes())}${two(now.getSeconds())}.${kind}`;
}

/** Records a stream, with the microphone `late` seconds behind where it is asked for. onDone(blob, kind). */
export class Recorder {
  #recorder = null; #microphone = null; #context = null;

  get running() { return this.#recorder?.state === "recording"; }

  async start(stream, { sound, late, onDone }) {
    const tracks = [...stream.getVideoTracks()];
    if (sound) tracks.push(await this.#sound(late));
    const mimeType = KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));
    const parts = [];
    const recorder = (this.#recorder = new MediaRecorder(new MediaStream(tracks), { mimeType, videoBitsPerSecond: 4_000_000 }));
    recorder.ondataavailable = ({ data }) => data.size && parts.push(data);
    recorder.onstop = () => {
      this.#release();
      const type = recorder.mimeType || mimeType;
      onDone(new Blob(parts, { type }), type.includes("mp4") ? "mp4" : "webm");
    };
    recorder.start(1000); // a piece a second: a link that drops loses no more
  }

  stop() {
    if (this.#recorder && this.#recorder.state !== "inactive") this.#recorder.stop();
  }

  async #sound(late) {
    this.#microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
    this.#context = new AudioContext();
    const delay = new DelayNode(this.#context, { delayTime: Math.min(late, 1), maxDelayTime: 1 });
    const out = this.#context.createMediaStreamDestination();
    this.#context.createMediaStreamSource(this.#microphone).connect(delay).connect(out);
    return out.stream.getAudioTracks()[0];
  }

  #release() {
    this.#microphone?.getTracks().forEach((track) => track.stop());
    this.#context?.close();
    this.#microphone = this.#context = null;
  }
}
