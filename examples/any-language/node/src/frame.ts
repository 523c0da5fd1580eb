// Frames: columns read where they lie, and refused by name before any part of them is used.
// docs/protocol.md, P40 to P52 (frames), P60 and P61 (signatures).
import { ErrorCode } from "./rendezvous/v1/error.js";
import { Column, DataType, Frame, dataTypeToJSON } from "./rendezvous/v1/frame.js";
import type { ColumnSpec } from "./rendezvous/v1/model.js";

// Why a request is not scored; `column` is named where one is at fault.
export class Refusal extends Error {
  readonly attributes: Record<string, string>;

  constructor(readonly code: ErrorCode, message: string, column = "") {
    const shown = column.length > 80 ? `${column.slice(0, 80)}...` : column;
    super(column ? `column ${JSON.stringify(shown)}: ${message}` : message);
    this.attributes = column ? { column: shown } : {};
  }
}

// Reads elements in the bytes that came. A Float64Array over them would need an offset that 8 divides, which the
// place of a column in a message is not; a DataView does not, and is as fast.
export class Elements {
  private readonly view: DataView;

  constructor(private readonly column: Column) {
    const { buffer, byteOffset, byteLength } = column.values;
    this.view = new DataView(buffer, byteOffset, byteLength);
  }

  isMissing(row: number): boolean {
    return (((this.column.missing[row >> 3] ?? 0) >> (row & 7)) & 1) === 1;
  }

  int64(row: number): bigint {
    return this.view.getBigInt64(8 * row, true);
  }

  fp64(row: number): number {
    return this.view.getFloat64(8 * row, true);
  }

  string(row: number): string {
    return this.column.strings[row] ?? "";
  }
}

// The columns of a frame that fits the signature, by name.
export class Columns {
  private readonly byName = new Map<string, Elements>();

  // Throws Refusal (SIGNATURE_MISMATCH) if the frame does not have exactly the declared columns.
  constructor(frame: Frame, specs: ColumnSpec[]) {
    for (const column of frame.columns) {
      const spec = specs.find((each) => each.name === column.name);
      const known = specs.map((each) => each.name).join(", ");
      if (!spec) throw mismatch(column.name, `is unknown: the model takes ${known}`);
      if (column.type !== spec.type || column.shape.join() !== spec.shape.join()) {
        throw mismatch(column.name, `expected ${shown(spec)}, got ${shown(column)}`);
      }
      const elements = new Elements(column);
      checkRows(elements, spec, Number(frame.rows));
      this.byName.set(column.name, elements);
    }
    const absent = specs.find((each) => !this.byName.has(each.name));
    if (absent) throw mismatch(absent.name, `is absent: expected ${shown(absent)}`);
  }

  get(name: string): Elements {
    const found = this.byName.get(name);
    if (!found) throw new Error(`the model reads column ${name}, which it does not declare`);
    return found;
  }
}

// Knows scalar FP64 columns, the only floating-point ones of this model.
function checkRows(elements: Elements, spec: ColumnSpec, rows: number): void {
  const checked = spec.type === DataType.DATA_TYPE_FP64 && !spec.allowNan;
  for (let row = 0; row < rows; row++) {
    if (elements.isMissing(row)) {
      if (spec.allowMissing) continue;
      throw mismatch(spec.name, `is missing in row ${row}: missing values are not allowed here`);
    }
    if (checked && !Number.isFinite(elements.fp64(row))) {
      throw mismatch(spec.name, `is ${elements.fp64(row)} in row ${row}: it must be finite here`);
    }
  }
}

function shown({ type, shape }: { type: DataType; shape: bigint[] }): string {
  return `${dataTypeToJSON(type).replace("DATA_TYPE_", "")} of shape [${shape.join(", ")}]`;
}

function mismatch(column: string, message: string): Refusal {
  return new Refusal(ErrorCode.ERROR_CODE_SIGNATURE_MISMATCH, message, column);
}

function invalid(message: string, column = ""): Refusal {
  return new Refusal(ErrorCode.ERROR_CODE_INVALID_FRAME, message, column);
}

// Bytes an element; STRING and BYTES have none.
const widths = new Map<DataType, bigint>([
  [DataType.DATA_TYPE_BOOL, 1n], [DataType.DATA_TYPE_INT8, 1n], [DataType.DATA_TYPE_UINT8, 1n],
  [DataType.DATA_TYPE_INT16, 2n], [DataType.DATA_TYPE_UINT16, 2n], [DataType.DATA_TYPE_FP16, 2n],
  [DataType.DATA_TYPE_INT32, 4n], [DataType.DATA_TYPE_UINT32, 4n], [DataType.DATA_TYPE_FP32, 4n],
  [DataType.DATA_TYPE_INT64, 8n], [DataType.DATA_TYPE_UINT64, 8n], [DataType.DATA_TYPE_FP64, 8n],
  [DataType.DATA_TYPE_STRING, 0n], [DataType.DATA_TYPE_BYTES, 0n],
]);

// Throws Refusal (INVALID_FRAME) if the frame contradicts itself.
export function checkFrame(frame: Frame): void {
  if (frame.rows < 0n) throw invalid(`rows is ${frame.rows}: it must not be negative`);
  const seen = new Set<string>();
  frame.columns.forEach((column, index) => {
    if (!column.name) throw invalid(`column ${index} has no name: name it`);
    if (seen.has(column.name)) throw invalid("is there twice: names must be unique", column.name);
    seen.add(column.name);
    checkColumn(column, frame.rows);
  });
}

// Counts in bigint: a product that wrapped round, or was rounded, could agree with a short column.
function checkColumn(column: Column, rows: bigint): void {
  const { name, type, shape, values, strings, blobs, missing } = column;
  const width = widths.get(type);
  if (width === undefined) throw invalid(`type ${type} is unknown`, name);
  if (shape.length > 8) throw invalid(`shape has ${shape.length} dimensions: at most 8 are allowed`, name);
  if (shape.some((size) => size < 0n)) throw invalid(`shape [${shape.join(", ")}] has a negative dimension`, name);
  const elements = shape.reduce((product, size) => product * size, rows);
  const lengths: [string, number, bigint][] = [
    ["values", values.length, elements * width],
    ["strings", strings.length, type === DataType.DATA_TYPE_STRING ? elements : 0n],
    ["blobs", blobs.length, type === DataType.DATA_TYPE_BYTES ? elements : 0n],
  ];
  for (const [carrier, actual, expected] of lengths) {
    if (BigInt(actual) !== expected) {
      throw invalid(`\`${carrier}\` has length ${actual}: ${rows} rows of ${shown(column)} need ${expected}`, name);
    }
  }
  if (type === DataType.DATA_TYPE_BOOL) {
    const at = values.findIndex((octet) => octet > 1);
    if (at >= 0) throw invalid(`BOOL element ${at} is the byte ${values[at]}: it must be 0 or 1`, name);
  }
  if (missing.length === 0) return;
  const needed = (rows + 7n) / 8n;
  if (BigInt(missing.length) !== needed) {
    throw invalid(`missing bitmap has ${missing.length} bytes: ${rows} rows need ${needed}`, name);
  }
  const used = Number(rows % 8n);
  if (used && (missing[missing.length - 1] ?? 0) >> used) {
    throw invalid(`missing bitmap has bits set beyond row ${rows - 1n}: spare bits must be 0`, name);
  }
}
