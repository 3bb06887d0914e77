// The page: what people press, what they see, and what is said when something is wrong.

import { Backdrops, gradient } from "./backdrops.js";
import { CameraTrouble, listCameras, openCamera } from "./camera.js";
import { Figures } from "./figures.js";
import { Recorder, fileName, save, snapshot } from "./keep.js";
import { Link, ask, token } from "./link.js";
import { People } from "./people.js";

const $ = (id) => document.getElementById(id);
const [stage, before, after, split] = [$("stage"), $("before"), $("after"), $("split")];
const LARGEST_FILE = 20e6;

const link = new Link();
const figures = new Figures(document);
const recorder = new Recorder();
figures.follow(after);
const backdrops = new Backdrops($("backdrops"), chooseBackdrop);
const people = new People({ menu: $("subject"), held: $("held"), video: after }, (wish, words) => {
  link.send({ type: "scene", ...wish });
  note(words);
});
let camera = null; // the stream of the browser's camera
let picture = null; // a Blob: the picture behind, if it is one
let models = [];
let hidden = false, frozen = false, sending = 0, clock = 0, trouble = false;

// --- what is shown -------------------------------------------------------------------------------------------------

function background() {
  const { kind, value } = backdrops.chosen;
  if (kind === "none") return "none";
  if (kind === "colour") return value === "other" ? $("colour").value : value;
  if (kind === "blur") return `blur:${Number($("blur").value)}`;
  return "picture";
}

function scene() {
  return { background: background(), overlay: $("overlay").checked ? "all" : "", framing: $("framing").checked ? "head" : "", mirror: $("mirror").checked, frozen, slate: hidden };
}

/** A picture is sent once the server knows this peer; until then the room is blurred. */
function first() {
  const wanted = { ...scene(), ...people.wish };
  if (wanted.background === "picture") wanted.background = "blur:6";
  return { scene: wanted, model: $("model").value || null };
}

/** Changes are put together: a slider gives a hundred a second. */
function show() {
  clearTimeout(sending);
  sending = setTimeout(() => {
    const wanted = scene();
    if (wanted.background === "picture" && !sentPicture) delete wanted.background;
    link.send({ type: "scene", ...wanted });
  }, 60);
}

let sentPicture = false;

async function sendPicture() {
  if (!picture || !link.id || background() !== "picture") return;
  try {
    await ask(`webrtc/${link.id}/background`, { method: "POST", body: picture, headers: { "Content-Type": picture.type } });
    sentPicture = true;
    note("");
  } catch (error) {
    note(`The picture cannot be used: ${error.message}`, true);
  }
}

async function chooseBackdrop({ kind, value }) {
  $("blur-row").hidden = kind !== "blur";
  $("colour-row").hidden = !(kind === "colour" && value === "other");
  if (kind === "gradient") picture = await gradient(value, 1280, 960);
  if (kind === "own") picture = ownPicture;
  if (kind === "gradient" || kind === "own") await sendPicture();
  else show();
}

let ownPicture = null;

async function takeFile(file) {
  if (!file) return;
  if (!/^image\/(png|jpeg|webp)$/.test(file.type)) return note("Pictures may be PNG, JPEG or WebP.", true);
  if (file.size > LARGEST_FILE) return note("That picture is over 20 MB: use a smaller one.", true);
  ownPicture = picture = file;
  backdrops.own(file);
  await chooseBackdrop({ kind: "own" });
}

// --- the camera and the link ---------------------------------------------------------------------------------------

async function start() {
  $("start").disabled = true;
  state("connecting", "Asking for the camera");
  try {
    await useCamera();
    if (!models.length) await loadModels();
    veil(null);
    await link.open(camera.getVideoTracks()[0], first);
  } catch (error) {
    if (error instanceof CameraTrouble) fail(error.title, error.message);
    else if (error.status === 401) await askForToken();
    else fail("The server does not answer", "Is rtseg still running? It is tried again when you press the button.");
  } finally {
    $("start").disabled = false;
  }
}

async function useCamera() {
  const [width, height] = $("size").value.split("x").map(Number);
  const next = await openCamera({ deviceId: $("camera").value, width, height });
  camera?.getTracks().forEach((track) => track.stop());
  camera = next;
  before.srcObject = camera;
  const [track] = camera.getVideoTracks();
  track.onended = () => {
    stop();
    fail("The camera is gone", "It was unplugged, or taken by another program. Plug it in again, then try again.");
  };
  track.enabled = !hidden;
  await listCameras($("camera"), track.getSettings().deviceId);
  await link.replace(track);
}

function stop() {
  recorder.stop();
  link.close();
  camera?.getTracks().forEach((track) => track.stop());
  camera = before.srcObject = after.srcObject = null;
  figures.clear("Starts with the camera.");
  veil("welcome");
  $("start").focus();
}

async function loadModels() {
  ({ models } = await ask("models"));
  $("model").replaceChildren(...models.map((model) => new Option(model.name, model.name)));
  describeModel();
}

function describeModel() {
  const model = models.find((each) => each.name === $("model").value);
  $("model-about").textContent = model ? model.description : "";
  backdrops.enable(!model || model.labels.includes("person"));
}

async function askForToken() {
  const dialog = $("token-dialog");
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  if (dialog.returnValue !== "use" || !$("token").value) return fail("A token is needed", "Whoever runs this server can tell you.");
  token.set($("token").value.trim());
  $("token").value = "";
  await start();
}

link.addEventListener("state", ({ detail }) => {
  const { state: now, text, seconds } = detail;
  const words = text && seconds ? `${text}. Trying again in ${seconds} s` : text;
  if (now !== "live") {
    sentPicture = false;
    recorder.stop(); // what was recorded until now is saved
  }
  for (const id of ["freeze", "snapshot", "record", "compare"]) $(id).disabled = now !== "live";
  for (const id of ["hide", "stop"]) $(id).disabled = now === "idle";
  if (now === "idle") state("idle", "Ready");
  else if (now === "connecting") state("connecting", words);
  else if (now === "live") live();
  else if (now === "token") askForToken();
  else if (now === "refused") fail("The server refused", `${text}.`);
  else {
    state("trouble", text);
    fail(text, `It is tried again in ${seconds} s. Your settings are kept.`, "Try now");
  }
});

link.addEventListener("open", () => {
  sentPicture = false;
  if (background() === "picture") sendPicture();
});
link.addEventListener("picture", ({ detail }) => {
  after.srcObject = detail;
  detail.getVideoTracks()[0].addEventListener("ended", () => recorder.stop());
});
link.addEventListener("stats", ({ detail }) => {
  figures.show(detail, link.connection);
  if (link.state === "live" && !hidden) said(detail);
});
link.addEventListener("error", ({ detail }) => note(detail.error, true));
link.addEventListener("scene", ({ detail }) => {
  people.told(detail);
  for (const [key, id] of [["slate", "hide"], ["frozen", "freeze"]]) if (id) press(id, detail[key]);
});

function live() {
  trouble = false;
  veil(null);
  note("");
  focusIfLost("hide");
  state(hidden ? "hidden" : "live", hidden ? "Nobody sees you" : "Live");
}

/** What the server says of the stream: it is silent while all is well. */
function said({ state: now, error }) {
  if (now === "closed to view") state("trouble", "Hidden: the picture could not be made");
  else if (now === "no signal") state("trouble", "No picture comes from the camera");
  else if (now === "failed") state("trouble", error ?? "The stream has ended");
  else state("live", "Live");
}

// --- words ---------------------------------------------------------------------------------------------------------

function state(kind, text) {
  const pill = $("state");
  pill.dataset.state = kind;
  if (pill.textContent !== text) pill.textContent = text;
}

function note(text, bad = false) {
  $("note").textContent = text;
  $("note").classList.toggle("bad", bad);
}

/** Something is wrong, in large letters, and aloud for those who do not see them. */
function fail(title, text, button = "Try again") {
  if (!trouble) $("alert").textContent = `${title}. ${text}`;
  trouble = true;
  $("trouble-title").textContent = title;
  $("trouble-text").textContent = text;
  $("again").textContent = button;
  if (link.state === "idle" || link.state === "refused") state("trouble", title);
  veil("trouble");
  focusIfLost("again");
}

/** What had the keyboard was hidden: it goes on at the next thing to press. */
function focusIfLost(id) {
  if (!document.activeElement?.checkVisibility?.() || document.activeElement === document.body) $(id).focus({ preventScroll: true });
}

function veil(name) {
  for (const id of ["welcome", "trouble"]) $(id).hidden = id !== name;
  stage.dataset.phase = name ?? "on";
  compare($("compare").getAttribute("aria-pressed") === "true");
}

const press = (id, on) => $(id).setAttribute("aria-pressed", String(on));

// --- what people press ---------------------------------------------------------------------------------------------

/** At once and twice over: the server sends a card, and this browser sends black. */
function hide() {
  if (link.state === "idle") return;
  hidden = !hidden;
  clearTimeout(sending);
  camera?.getVideoTracks().forEach((track) => (track.enabled = !hidden));
  link.send({ type: "scene", slate: hidden });
  press("hide", hidden);
  $("hide").textContent = hidden ? "Show me" : "Hide me";
  if (link.state === "live") live();
  $("alert").textContent = hidden ? "You are hidden" : "You are shown again";
}

function freeze() {
  frozen = !frozen;
  press("freeze", frozen);
  show();
}

function compare(on) {
  const shown = on && stage.dataset.phase === "on";
  press("compare", on);
  for (const id of ["before", "divider", "split", "tag-before", "tag-after"]) $(id).hidden = !shown;
  stage.style.setProperty("--split", `${split.value}%`);
}

async function takeSnapshot() {
  save(await snapshot(after), fileName("png"), $("saved"));
  note("The snapshot is in your downloads.");
}

async function record() {
  if (recorder.running) return recorder.stop();
  try {
    const onDone = (blob, kind) => {
      clearInterval(clock);
      press("record", false);
      $("record").textContent = "Record";
      $("recording").hidden = true;
      save(blob, fileName(kind), $("saved"));
      note("The recording is in your downloads.");
    };
    await recorder.start(after.srcObject, { sound: $("sound").checked, late: figures.delay / 1000, onDone });
  } catch (error) {
    return note(error.name === "NotAllowedError" ? "The microphone is not allowed." : `Nothing is recorded: ${error.message}`, true);
  }
  const began = Date.now();
  const tick = () => {
    const seconds = Math.floor((Date.now() - began) / 1000);
    $("recorded").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  };
  tick();
  clock = setInterval(tick, 500);
  $("recording").hidden = false;
  press("record", true);
  $("record").textContent = "Stop recording";
}

$("start").onclick = start;
$("again").onclick = () => (camera && ["waiting", "full"].includes(link.state) ? link.retry() : start());
$("stop").onclick = stop;
$("hide").onclick = hide;
$("freeze").onclick = freeze;
$("compare").onclick = () => compare($("compare").getAttribute("aria-pressed") !== "true");
$("snapshot").onclick = takeSnapshot;
$("record").onclick = record;
split.oninput = () => compare(true);
$("blur").oninput = () => {
  $("blur-value").value = $("blur").value;
  show();
};
$("colour").oninput = show;
$("overlay").onchange = show;
$("framing").onchange = show;
$("mirror").onchange = () => {
  before.classList.toggle("mirrored", $("mirror").checked);
  show();
};
$("model").onchange = () => {
  describeModel();
  if (!models.find((each) => each.name === $("model").value)?.labels.includes("person")) {
    $("overlay").checked = true;
    link.send({ type: "scene", background: "none", overlay: "all" });
  }
  link.send({ type: "model", name: $("model").value });
  chooseBackdrop(backdrops.chosen);
};
for (const id of ["camera", "size"]) {
  $(id).onchange = () => camera && useCamera().catch((error) => fail(error.title ?? "The camera did not start", error.message));
}
navigator.mediaDevices?.addEventListener("devicechange", () => {
  if (camera) listCameras($("camera"), camera.getVideoTracks()[0].getSettings().deviceId);
});
$("file").onchange = () => takeFile($("file").files[0]);
$("controls").onsubmit = (event) => event.preventDefault();

after.onresize = () => {
  if (after.videoWidth) stage.style.setProperty("--shape", after.videoWidth / after.videoHeight);
};
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop-hint").hidden = false;
});
document.addEventListener("dragleave", (event) => event.relatedTarget || ($("drop-hint").hidden = true));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop-hint").hidden = true;
  takeFile(event.dataTransfer.files[0]);
});

const KEYS = { p: "hide", c: "compare", f: "freeze", s: "snapshot", r: "record", m: "mirror", a: "framing" };
document.addEventListener("keydown", (event) => {
  const typing = /^(text|password)$/.test(event.target.type) || event.target.tagName === "SELECT";
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || typing || !$("keys").checked) return;
  const button = KEYS[event.key.toLowerCase()];
  if (button && !$(button).disabled) $(button).click();
});

loadModels().catch(() => {}); // without a token, or a server, it is asked for at the start
figures.clear("Starts with the camera.");
Object.assign(window, { rtsegStudio: { link, figures } }); // for the tests, and for the curious
