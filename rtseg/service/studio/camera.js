// The browser's camera, and what to say where there is none.

const TROUBLE = {
  NotAllowedError: ["The camera is not allowed", "Allow it for this page in the browser's address bar, then try again."],
  SecurityError: ["The camera is not allowed", "This browser lets no page use a camera: its settings say why."],
  NotFoundError: ["No camera was found", "Plug one in, then try again."],
  NotReadableError: ["The camera is busy", "Another program is using it. Close that one, then try again."],
  AbortError: ["The camera did not start", "Unplug it and plug it in again, then try again."],
  OverconstrainedError: ["That camera is gone", "Choose another one, then try again."],
};

export class CameraTrouble extends Error {
  constructor(name, detail) {
    const [title, text] = TROUBLE[name] ?? ["The camera did not start", detail || name];
    super(text);
    this.title = title;
  }
}

/** A stream with one video track; throws CameraTrouble with words for people. */
export async function openCamera({ deviceId, width, height }) {
  if (!navigator.mediaDevices?.getUserMedia) {
    const trouble = new CameraTrouble("insecure");
    trouble.title = "Cameras need a safe connection";
    trouble.message = "Open this page by https, or as localhost on the same computer.";
    throw trouble;
  }
  const wanted = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30 } };
  if (deviceId) wanted.deviceId = { exact: deviceId };
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    stream.getVideoTracks()[0].contentHint = "motion";
    return stream;
  } catch (error) {
    throw new CameraTrouble(error.name, error.message);
  }
}

/** Fill a select with the cameras there are; names are known once a camera was allowed. */
export async function listCameras(select, current) {
  if (!navigator.mediaDevices?.enumerateDevices) return;
  const found = (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput");
  const options = found.map((device, place) => {
    const option = new Option(device.label || `Camera ${place + 1}`, device.deviceId);
    option.selected = device.deviceId === current;
    return option;
  });
  select.replaceChildren(...(options.length ? options : [new Option("Default", "")]));
}
