/** ONNX files as protocol buffers: only what is needed to write a graph in another way. */

type Payload = Uint8Array | bigint;

/** One field of a message: its number, how it is stored (protobuf's wire type), and its content. */
interface Part {
  number: number;
  wire: number;
  content: Payload;
}

const VARINT = 0;
const BYTES = 2;
const WIDTHS: Record<number, number> = { 1: 8, 5: 4 };
const FLOAT = 1;
const INT64 = 7;
const utf8 = { encode: new TextEncoder(), decode: new TextDecoder() };

/** A message whose unknown fields are kept. */
export class Message {
  constructor(public parts: Part[] = []) {}

  static read(bytes: Uint8Array): Message {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const parts: Part[] = [];
    let at = 0;
    const readVarint = () => {
      let value = 0n;
      for (let shift = 0n; ; shift += 7n) {
        const byte = view.getUint8(at++);
        value |= BigInt(byte & 127) << shift;
        if (byte < 128) return BigInt.asIntN(64, value);
      }
    };
    while (at < bytes.length) {
      const key = Number(readVarint());
      const [number, wire] = [key >> 3, key & 7];
      if (wire === VARINT) {
        parts.push({ number, wire, content: readVarint() });
        continue;
      }
      const length = wire === BYTES ? Number(readVarint()) : WIDTHS[wire]!;
      parts.push({ number, wire, content: bytes.subarray(at, at + length) });
      at += length;
    }
    return new Message(parts);
  }

  write(): Uint8Array {
    const pieces: Uint8Array[] = [];
    for (const { number, wire, content } of this.parts) {
      pieces.push(writeVarint(BigInt((number << 3) | wire)));
      if (typeof content === "bigint") pieces.push(writeVarint(content));
      else pieces.push(...(wire === BYTES ? [writeVarint(BigInt(content.length))] : []), content);
    }
    return join(pieces);
  }

  bytes(number: number): Uint8Array[] {
    return this.parts.filter((part) => part.number === number).map(({ content }) => content as Uint8Array);
  }

  messages(number: number): Message[] {
    return this.bytes(number).map((content) => Message.read(content));
  }

  texts(number: number): string[] {
    return this.bytes(number).map((content) => utf8.decode.decode(content));
  }

  /** Whole numbers, packed or one by one. */
  numbers(number: number): number[] {
    return this.parts
      .filter((part) => part.number === number)
      .flatMap(({ content }) => (typeof content === "bigint" ? [Number(content)] : Message.readPacked(content)));
  }

  private static readPacked(content: Uint8Array): number[] {
    const numbers: number[] = [];
    let value = 0n;
    let shift = 0n;
    for (const byte of content) {
      value |= BigInt(byte & 127) << shift;
      shift += 7n;
      if (byte >= 128) continue;
      numbers.push(Number(BigInt.asIntN(64, value)));
      value = shift = 0n;
    }
    return numbers;
  }

  /** Put other content in the place of a field; each of it is a message, a text or a whole number. */
  set(number: number, contents: readonly (Message | string | number | Uint8Array)[]): this {
    const made = contents.map((content): Part => {
      if (typeof content === "number") return { number, wire: VARINT, content: BigInt(content) };
      if (typeof content === "string") return { number, wire: BYTES, content: utf8.encode.encode(content) };
      return { number, wire: BYTES, content: content instanceof Message ? content.write() : content };
    });
    this.parts = [...this.parts.filter((part) => part.number !== number), ...made];
    return this;
  }
}

function writeVarint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Uint8Array.from([...bytes, Number(rest)]);
}

function join(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** Numbers of the fields that are read and written. */
export const MODEL = { graph: 7 };
export const GRAPH = { node: 1, initializer: 5, input: 11, output: 12, valueInfo: 13 };
export const NODE = { input: 1, output: 2, name: 3, op: 4, attribute: 5 };
const ATTRIBUTE = { name: 1, i: 3, ints: 8, type: 20 };
const TENSOR = { dims: 1, type: 2, name: 8, raw: 9 };

/** Whole numbers of an attribute of a node; none if it has no such attribute. */
export function readAttribute(node: Message, name: string): number[] {
  const found = node.messages(NODE.attribute).find((one) => one.texts(ATTRIBUTE.name)[0] === name);
  return found ? [...found.numbers(ATTRIBUTE.ints), ...found.numbers(ATTRIBUTE.i)] : [];
}

export function makeAttribute(name: string, values: readonly number[]): Message {
  const ints = 7;
  return new Message().set(ATTRIBUTE.name, [name]).set(ATTRIBUTE.ints, values).set(ATTRIBUTE.type, [ints]);
}

export function makeNode(op: string, inputs: readonly string[], output: string, attributes: readonly Message[] = []): Message {
  const node = new Message().set(NODE.input, inputs).set(NODE.output, [output]).set(NODE.name, [output]);
  return node.set(NODE.op, [op]).set(NODE.attribute, attributes);
}

/** A constant of a graph. */
export function makeTensor(name: string, values: Float32Array | BigInt64Array, shape: readonly number[]): Message {
  const type = values instanceof Float32Array ? FLOAT : INT64;
  const raw = new Uint8Array(values.buffer);
  return new Message().set(TENSOR.dims, shape).set(TENSOR.type, [type]).set(TENSOR.name, [name]).set(TENSOR.raw, [raw]);
}

/** Shape of an input or output of fixed size. */
export function makeValueInfo(name: string, shape: readonly number[]): Message {
  const dims = shape.map((length) => new Message().set(1, [length]));
  const tensor = new Message().set(1, [FLOAT]).set(2, [new Message().set(1, dims)]);
  return new Message().set(1, [name]).set(2, [new Message().set(1, [tensor])]);
}
