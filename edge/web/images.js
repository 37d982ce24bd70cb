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
  const data = globalThis.dicomParser.parseDicom(bytes);
  const syntax = data.string("x00020010");
  if (!UNCOMPRESSED.includes(syntax)) {
    throw new Error("this DICOM file is compressed: save it uncompressed, or serve with --runtime python");
  }
  const [height, width] = [data.uint16("x00280010"), data.uint16("x00280011")];
  checkSize(height, width);
  const photometric = data.string("x00280004") ?? "";
  if (!photometric.startsWith("MONOCHROME")) throw new Error("this DICOM file is in colour: not a radiograph");
  if (Number(data.string("x00280008") ?? 1) !== 1) throw new Error("this DICOM file has several frames");
  if (data.elements.x00283010) throw new Error("this DICOM file has a VOI table: serve with --runtime python");

  const values = storedValues(data, bytes, height * width);
  const slope = Number(data.string("x00281053") ?? 1);
  const intercept = Number(data.string("x00281052") ?? 0);
  for (let index = 0; index < values.length; index++) values[index] = values[index] * slope + intercept;
  const [low, high] = shownRange(data, values);
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
  const wide = data.uint16("x00280100") === 16;
  const element = data.elements.x7fe00010;
  if (!element || element.length < count * (wide ? 2 : 1)) throw new Error("this DICOM file was cut short");
  const view = new DataView(bytes.buffer, bytes.byteOffset + element.dataOffset);
  const signed = data.uint16("x00280103") === 1;
  const read = wide
    ? (index) => (signed ? view.getInt16(2 * index, true) : view.getUint16(2 * index, true))
    : (index) => (signed ? view.getInt8(index) : view.getUint8(index));
  return Float64Array.from({ length: count }, (_, index) => read(index));
}

/** The window's ends (PS3.3 C.11.2.1.2, linear), or else those of the pixels. */
function shownRange(data, values) {
  const centre = Number.parseFloat(data.string("x00281050", 0));
  const width = Number.parseFloat(data.string("x00281051", 0));
  if (Number.isFinite(centre) && Number.isFinite(width)) {
    return [centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2];
  }
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
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
