// The little of the TFLite file format (a FlatBuffer) that the page needs.

const SHAPE = 0; // fields of the table Tensor in the schema
const SHAPE_SIGNATURE = 7;

/**
 * Returns a copy of a TFLite file whose image input has a fixed height and width.
 *
 * LiteRT.js takes no inputs of open size, which LiteRT elsewhere resizes on request. In the
 * file the size is four numbers, which this overwrites; LiteRT works out all others.
 *
 * @param {Uint8Array} file a model whose first input is [1, -1, -1, 1]
 * @returns {Uint8Array}
 */
export function withImageSize(file, height, width) {
  const copy = file.slice();
  const view = new DataView(copy.buffer);
  const follow = (at) => at + view.getUint32(at, true);
  const field = (table, index) => {
    const vtable = table - view.getInt32(table, true);
    const entry = 4 + 2 * index;
    const offset = entry < view.getUint16(vtable, true) ? view.getUint16(vtable + entry, true) : 0;
    return offset ? table + offset : null;
  };
  const element = (vector, index) => follow(vector + 4 + 4 * index);

  const model = follow(0);
  const subgraph = element(follow(field(model, 2)), 0);
  const input = view.getInt32(follow(field(subgraph, 1)) + 4, true);
  const tensor = element(follow(field(subgraph, 0)), input);
  for (const index of [SHAPE, SHAPE_SIGNATURE]) {
    const at = field(tensor, index);
    if (at === null) continue;
    const vector = follow(at);
    if (view.getUint32(vector, true) !== 4) throw new Error("the model takes no single image");
    [1, height, width, 1].forEach((size, axis) => view.setInt32(vector + 4 + 4 * axis, size, true));
  }
  return copy;
}
