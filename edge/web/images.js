// Image files to grey pixels, by the rules of the Python runtime (edge/images.py).

const MAX_PIXELS = 50_000_000;
// ITU-R BT.601 luma in 15-bit fixed point.
const LUMA = [9798, 19235, 3735];
const LUMA_SHIFT = 15;
const UNCOMPRESSED = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"];

/**
 * Decodes a JPEG, PNG, BMP, GIF or DICOM file.
 *
 * @param {File} file
 * @returns {Promise<{pixels: Uint8Array, height: number, width: number, colourfulness: number}>}
 */
export async function readImage(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (!bytes.length) throw new Error("the file is empty");
  const mark = String.fromCharCode(...bytes.subarray(128, 132));
  return mark === "DICM" ? readDicom(bytes) : readPicture(file);
}

async function readPicture(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Error("the file cannot be decoded: give a JPEG, PNG, BMP, GIF or DICOM file");
  }
  const { height, width } = bitmap;
  checkSize(height, width);
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  const pixels = new Uint8Array(height * width);
  let spread = 0;
  for (let pixel = 0, at = 0; pixel < pixels.length; pixel++, at += 4) {
    const [red, green, blue] = [rgba[at], rgba[at + 1], rgba[at + 2]];
    const sum = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2];
    pixels[pixel] = (sum + (1 << (LUMA_SHIFT - 1))) >> LUMA_SHIFT;
    spread += Math.max(red, green, blue) - Math.min(red, green, blue);
  }
  return { pixels, height, width, colourfulness: spread / pixels.length / 255 };
}

async function readDicom(bytes) {
  await loadDicomParser();
  let data;
  try {
    data = globalThis.dicomParser.parseDicom(bytes);
  } catch {
    // The parser throws texts and objects as well as errors.
    throw new Error("this DICOM file is damaged or was cut short");
  }
  const syntax = data.string("x00020010");
  if (!UNCOMPRESSED.includes(syntax)) {
    throw new Error("this DICOM file is compressed: save it uncompressed, or serve with --runtime python");
  }
  const [height, width] = [data.uint16("x00280010"), data.uint16("x00280011")];
  checkSize(height, width);
  const photometric = data.string("x00280004") ?? "";
  if (!photometric.startsWith("MONOCHROME")) throw new Error("this DICOM file is in colour: not a radiograph");
  if (Number(data.string("x00280008") ?? 1) !== 1) throw new Error("this DICOM file has several frames");
  if (data.elements.x00283000 || data.elements.x00283010 || (data.string("x00281056") ?? "LINEAR") !== "LINEAR") {
    throw new Error("this DICOM file has a table or curve of grey values: serve with --runtime python");
  }

  const values = storedValues(data, bytes, height * width);
  const isShown = shownPixels(data, values);
  const slope = Number(data.string("x00281053") ?? 1);
  const intercept = Number(data.string("x00281052") ?? 0);
  for (let index = 0; index < values.length; index++) values[index] = values[index] * slope + intercept;
  const [low, high] = shownRange(data, values, isShown);
  const span = high - low || 1;
  const inverted = photometric === "MONOCHROME1";
  const pixels = Uint8Array.from(values, (value) => {
    const unit = Math.min(1, Math.max(0, (value - low) / span));
    return Math.round((inverted ? 1 - unit : unit) * 255);
  });
  return { pixels, height, width, colourfulness: 0 };
}

/** Pixels as they are stored, signed or not, in a Float64Array. */
function storedValues(data, bytes, count) {
  const [allocated, used] = [data.uint16("x00280100"), data.uint16("x00280101")];
  if (allocated !== 8 && allocated !== 16) {
    throw new Error(`this DICOM file has ${allocated} bits a pixel: serve with --runtime python`);
  }
  const wide = allocated === 16;
  const element = data.elements.x7fe00010;
  if (!element || element.length < count * (wide ? 2 : 1)) throw new Error("this DICOM file was cut short");
  const view = new DataView(bytes.buffer, bytes.byteOffset + element.dataOffset);
  const read = wide ? (index) => view.getUint16(2 * index, true) : (index) => view.getUint8(index);
  // The bits above those used are not part of the number, and the sign is below them.
  const spare = 32 - used;
  const number = isSigned(data) ? (bits) => (bits << spare) >> spare : (bits) => (bits << spare) >>> spare;
  return Float64Array.from({ length: count }, (_, index) => number(read(index)));
}

function isSigned(data) {
  return data.uint16("x00280103") === 1;
}

/** Which of the stored values are not padding around the picture; all if there is nothing else. */
function shownPixels(data, values) {
  if (!data.elements.x00280120) return () => true;
  const padding = isSigned(data) ? data.int16("x00280120") : data.uint16("x00280120");
  const shown = Uint8Array.from(values, (value) => Number(value !== padding));
  return shown.includes(1) ? (index) => shown[index] === 1 : () => true;
}

/** The window's ends (PS3.3 C.11.2.1.2, linear), or else those of the pixels that are shown. */
function shownRange(data, values, isShown) {
  const centre = Number.parseFloat(data.string("x00281050", 0));
  const width = Number.parseFloat(data.string("x00281051", 0));
  if (Number.isFinite(centre) && Number.isFinite(width)) {
    if (width < 1) throw new Error("this DICOM file has a window of no width");
    return [centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2];
  }
  let [low, high] = [Infinity, -Infinity];
  values.forEach((value, index) => {
    if (!isShown(index)) return;
    if (value < low) low = value;
    if (value > high) high = value;
  });
  return [low, high];
}

/** Loads what reads DICOM; the page does so at once, so as to work without a network later. */
export function loadDicomParser() {
  if (globalThis.dicomParser) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/dicom-parser/dicomParser.min.js";
    script.onload = resolve;
    script.onerror = () => reject(new Error("the DICOM reader could not be loaded"));
    document.head.append(script);
  });
}

function checkSize(height, width) {
  if (!height || !width) throw new Error("the image has no pixels");
  if (height * width > MAX_PIXELS) throw new Error(`the image has ${width} x ${height} pixels: scale it down`);
}
