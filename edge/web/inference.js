// The model in the browser: LiteRT.js on WebAssembly, or else the local Python process.

import { loadDicomParser, readImage } from "/images.js";
import { withImageSize } from "/tflite.js";

const COLOUR_LIMIT = 0.06; // as in edge/images.py
const GRID = 10; // as in edge/saliency.py
const COVER = 0.2;

/**
 * What a predictor returns.
 *
 * @typedef {object} Answer
 * @property {string} label
 * @property {Object<string, number>} probabilities
 * @property {number} unfamiliarity 1 is the limit
 * @property {ImageData | ImageBitmap} seen the preprocessed image
 * @property {() => Promise<number[][]>} explain probability lost under a cover, by row and column
 */

/** Runs the two TFLite files here; nothing is sent anywhere. */
export class BrowserPredictor {
  static async load(metadata) {
    const litert = await import("@litertjs/core");
    await litert.loadLiteRt("/wasm/", { threads: globalThis.crossOriginIsolated });
    const [preprocess, model] = await Promise.all([
      download("preprocess.tflite"),
      download("model.tflite"),
      loadDicomParser(),
    ]);
    return new BrowserPredictor(litert, metadata, preprocess, await compile(litert, model));
  }

  constructor(litert, metadata, preprocess, model) {
    Object.assign(this, { litert, metadata, preprocess, model });
  }

  /** @returns {Promise<Answer>} */
  async predict(file) {
    const picture = await readImage(file);
    const fixed = withImageSize(this.preprocess, picture.height, picture.width);
    const preprocessing = await compile(this.litert, fixed);
    const prepared = await this.run(preprocessing, picture.pixels, picture.height, picture.width);
    preprocessing.delete();
    const pixels = prepared.model_image;
    const values = await this.classify(pixels);
    const label = this.metadata.classes[values.indexOf(Math.max(...values))];
    return {
      label,
      probabilities: Object.fromEntries(this.metadata.classes.map((name, index) => [name, values[index]])),
      unfamiliarity: Math.max(
        prepared.distance[0] / this.metadata.distance_limit,
        picture.colourfulness / COLOUR_LIMIT,
      ),
      seen: greyImage(pixels, this.metadata.height, this.metadata.width),
      explain: () => this.occlude(pixels, label),
    };
  }

  async classify(pixels) {
    const { height, width } = this.metadata;
    return [...(await this.run(this.model, pixels, height, width)).probabilities];
  }

  /** Occlusion: Zeiler and Fergus 2014; the same steps as in edge/saliency.py. */
  async occlude(pixels, label) {
    const { height, width, classes } = this.metadata;
    const index = classes.indexOf(label);
    const grey = roundHalfEven(pixels.reduce((sum, value) => sum + value, 0) / pixels.length);
    const whole = (await this.classify(pixels))[index];
    const lost = [];
    for (const [top, bottom] of spans(height)) {
      const row = [];
      for (const [left, right] of spans(width)) {
        const covered = pixels.slice();
        for (let y = top; y < bottom; y++) covered.fill(grey, y * width + left, y * width + right);
        row.push(whole - (await this.classify(covered))[index]);
      }
      lost.push(row);
      await new Promise((resolve) => setTimeout(resolve)); // let the page draw
    }
    return lost;
  }

  async run(model, pixels, height, width) {
    const input = new this.litert.Tensor(pixels, [1, height, width, 1]);
    const outputs = await model.run({ image: input });
    const values = {};
    for (const [name, tensor] of Object.entries(outputs)) {
      values[name] = tensor.toTypedArray().slice();
      tensor.delete();
    }
    input.delete();
    return values;
  }
}

/** Asks the Python process that served this page. */
export class LocalPredictor {
  constructor(maxBytes) {
    this.maxBytes = maxBytes;
  }

  /** @returns {Promise<Answer>} */
  async predict(file) {
    if (file.size > this.maxBytes) throw new Error("the file is too large");
    const response = await fetch("/predict", { method: "POST", body: file });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    const picture = new Image();
    picture.src = `data:image/png;base64,${answer.modelImage}`;
    await picture.decode();
    return { ...answer, seen: await createImageBitmap(picture), explain: async () => answer.lost };
  }
}

function compile(litert, file) {
  const numThreads = globalThis.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
  return litert.loadAndCompile(file, { accelerator: "wasm", cpuOptions: { numThreads } });
}

async function download(name) {
  const response = await fetch(`/edge/${name}`);
  if (!response.ok) throw new Error(`${name} could not be loaded`);
  return new Uint8Array(await response.arrayBuffer());
}

function spans(length) {
  return Array.from({ length: GRID }, (_, position) => {
    const centre = ((position + 0.5) * length) / GRID;
    const half = (COVER * length) / 2;
    return [Math.max(0, roundHalfEven(centre - half)), Math.min(length, roundHalfEven(centre + half))];
  });
}

/** Rounds as Python does. */
function roundHalfEven(value) {
  const floor = Math.floor(value);
  const odd = value - floor === 0.5 ? floor % 2 !== 0 : value - floor > 0.5;
  return floor + (odd ? 1 : 0);
}

function greyImage(pixels, height, width) {
  const image = new ImageData(width, height);
  pixels.forEach((value, index) => image.data.set([value, value, value, 255], 4 * index));
  return image;
}
