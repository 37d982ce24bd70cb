// The page: takes a file, shows the answer.

import { BrowserPredictor, LocalPredictor } from "/inference.js";

const element = (id) => document.getElementById(id);
const WHERE = {
  browser: "Inference runs in this browser (LiteRT.js, WebAssembly). The image never leaves this device.",
  python: "Inference runs in the local Python process that serves this page. The image goes to it and nowhere else.",
};
const DETAIL = {
  browser: "Nowhere. The model has been loaded into this page, which may connect to nothing else; it works with the network off.",
  python: "To the Python process that serves this page, which keeps no copy and no record of it.",
};

let turn = 0; // the newest request; answers to older ones are dropped

/** Loads the model; what it resolves to answers for files. */
async function start() {
  const [status, metadata] = await Promise.all(
    ["/status.json", "/edge/edge.json"].map(async (url) => (await fetch(url)).json()),
  );
  element("disclaimer").textContent = metadata.disclaimer;
  element("facts").textContent =
    `Model ${metadata.model}, version ${metadata.model_version}, ${metadata.variant} build, ` +
    `sees ${metadata.width} x ${metadata.height} pixels; trained on data ${metadata.data_digest.slice(0, 16)}.`;
  element("classes").textContent = metadata.classes.join(", ");
  const predictor =
    status.runtime === "browser" ? await BrowserPredictor.load(metadata) : new LocalPredictor(status.maxBytes);
  element("runtime").textContent = WHERE[status.runtime];
  element("where").textContent = DETAIL[status.runtime];
  if (!turn) document.body.dataset.state = "ready"; // else a file is waiting for its answer
  return predictor;
}

async function show(file) {
  const mine = ++turn;
  document.body.dataset.state = "busy";
  element("result").hidden = true; // it is of the file before
  say("");
  try {
    const predictor = await ready;
    if (mine !== turn) return;
    const began = performance.now();
    const answer = await predictor.predict(file);
    if (mine !== turn) return;
    const familiar = answer.unfamiliarity <= 1;
    element("name").textContent = file.name;
    element("label").textContent = answer.label;
    element("share").textContent = percent(answer.probabilities[answer.label]);
    element("unfamiliar").hidden = familiar;
    element("probabilities").replaceChildren(
      ...Object.entries(answer.probabilities).map(([name, probability]) => row(name, probability, name === answer.label)),
    );
    element("timing").textContent =
      `Unfamiliarity ${answer.unfamiliarity.toFixed(2)} (the limit is 1). ` +
      `Answered in ${Math.round(performance.now() - began)} ms.`;
    element("result").dataset.familiar = familiar;
    element("result").hidden = false;
    element("notes").hidden = true;
    await draw(element("seen"), answer.seen);
    await draw(element("saliency"), answer.seen);
    element("explained").textContent = "Looking for what the answer rests on …";
    document.body.dataset.state = "answered";
    const lost = await answer.explain();
    if (mine !== turn) return;
    tint(element("saliency"), lost);
    const most = Math.max(0, ...lost.flat());
    element("explained").textContent = most
      ? `Red: covering it makes ${answer.label} less probable, by up to ${(100 * most).toFixed(1)} percentage points`
      : `Whatever is covered, ${answer.label} stays as probable`;
    document.body.dataset.state = "explained";
  } catch (error) {
    if (mine !== turn) return;
    element("result").hidden = true;
    say(`${file.name}: ${error.message}`);
    document.body.dataset.state = "failed";
  }
}

function percent(probability) {
  return `${(100 * probability).toFixed(1)} %`;
}

function row(name, probability, first) {
  const line = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  const bar = document.createElement("div");
  bar.className = "bar";
  bar.ariaHidden = "true"; // the number beside it says the same
  const filled = document.createElement("div");
  filled.style.width = percent(probability).replace(" ", "");
  bar.append(filled);
  const middle = document.createElement("td");
  middle.append(bar);
  const value = document.createElement("td");
  value.className = "value";
  value.textContent = percent(probability);
  line.classList.toggle("first", first);
  line.dataset.probability = probability;
  line.dataset.label = name;
  line.append(head, middle, value);
  return line;
}

async function draw(canvas, picture) {
  const source = picture instanceof ImageData ? await createImageBitmap(picture) : picture;
  canvas.height = Math.round((canvas.width * source.height) / source.width);
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
}

function tint(canvas, lost) {
  const most = Math.max(...lost.flat(), Number.MIN_VALUE);
  const heat = new OffscreenCanvas(lost[0].length, lost.length);
  const cells = heat.getContext("2d");
  lost.forEach((line, y) =>
    line.forEach((value, x) => {
      cells.fillStyle = `rgb(214 40 40 / ${(0.67 * Math.max(0, value)) / most})`;
      cells.fillRect(x, y, 1, 1);
    }),
  );
  canvas.getContext("2d").drawImage(heat, 0, 0, canvas.width, canvas.height);
}

function say(text) {
  element("message").textContent = text;
  element("message").hidden = !text;
}

element("file").addEventListener("change", (event) => {
  if (event.target.files.length) show(event.target.files[0]);
  event.target.value = ""; // or choosing the same file again would be no change
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    element("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) show(event.dataTransfer.files[0]);
  });
}

const ready = start();
ready.catch((error) => {
  element("runtime").textContent = "The model could not be loaded.";
  say(error.message);
  document.body.dataset.state = "failed";
});
