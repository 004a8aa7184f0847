/**
 * A network's ONNX graph in a form that WebGPU can run, made in memory of the package's own file.
 *
 * WebGPU has no transposed 3D convolution and no grouped one. A transposed convolution becomes a
 * plain one of the features with zeros between them; a grouped one, which only repeats its features,
 * a plain one of these. The network and its weights stay the same; only sums are taken otherwise.
 */

import { GRAPH, makeAttribute, makeNode, makeTensor, makeValueInfo, Message, MODEL, NODE, readAttribute } from "./onnx";

type Shape = readonly number[];

/** Let a network take windows of another shape, and write it for WebGPU if asked to. */
export function rewrite(onnx: Uint8Array, shape: Shape, channels: number, forWebgpu: boolean): Uint8Array {
  const model = Message.read(onnx);
  const graph = model.messages(MODEL.graph)[0]!;
  const [input, output] = [GRAPH.input, GRAPH.output].map((kind) => graph.messages(kind)[0]!.texts(1)[0]!) as [string, string];
  graph.set(GRAPH.input, [makeValueInfo(input, [1, 1, ...shape])]);
  graph.set(GRAPH.output, [makeValueInfo(output, [1, channels, ...shape])]);
  graph.set(GRAPH.valueInfo, []);
  if (forWebgpu) new Rewriter(graph, input, shape).rewrite(output);
  return model.set(MODEL.graph, [graph]).write();
}

class Rewriter {
  private readonly made: Message[] = [];
  private readonly constants: Message[] = [];
  /** Voxels along each axis of features, as far as they are known. */
  private readonly sizes = new Map<string, Shape>();

  constructor(
    private readonly graph: Message,
    input: string,
    shape: Shape,
  ) {
    this.sizes.set(input, shape);
  }

  rewrite(output: string): void {
    const nodes = this.graph.messages(GRAPH.node);
    const makers = new Map(nodes.flatMap((node) => node.texts(NODE.output).map((name) => [name, node])));
    this.addMaskAndFlip();
    for (const node of nodes) {
      this.measure(node);
      const op = node.texts(NODE.op)[0];
      if (op === "ConvTranspose") this.spread(node);
      else if (op === "Conv" && (readAttribute(node, "group")[0] ?? 1) > 1) this.ungroup(node, makers);
      else this.made.push(node);
    }
    this.graph.set(GRAPH.node, dropUnused(this.made, output));
    this.graph.set(GRAPH.initializer, [...this.graph.bytes(GRAPH.initializer), ...this.constants.map((one) => one.write())]);
  }

  private addMaskAndFlip(): void {
    const first = new Float32Array(8);
    first[0] = 1;
    this.constants.push(makeTensor("first_of_two", first, [1, 1, 2, 1, 2, 1, 2]));
    const three = (value: bigint) => BigInt64Array.from([value, value, value]);
    this.constants.push(makeTensor("flip_start", three(-1n), [3]), makeTensor("flip_step", three(-1n), [3]));
    this.constants.push(makeTensor("flip_end", three(-(2n ** 31n)), [3]), makeTensor("flip_axes", BigInt64Array.from([2n, 3n, 4n]), [3]));
  }

  /** Note how large the features are that a node makes. */
  private measure(node: Message): void {
    const size = this.sizes.get(node.texts(NODE.input)[0]!);
    if (!size) return;
    const op = node.texts(NODE.op)[0];
    const [step] = readAttribute(node, "strides");
    let made = size;
    if (step && (op === "MaxPool" || op === "Conv")) made = size.map((n) => n / step);
    if (step && op === "ConvTranspose") made = size.map((n) => step * n);
    for (const name of node.texts(NODE.output)) this.sizes.set(name, made);
  }

  /** Zeros between the features, and a convolution with the flipped kernel. */
  private spread(node: Message): void {
    const [features, kernel, ...bias] = node.texts(NODE.input) as [string, string, ...string[]];
    const [output] = node.texts(NODE.output) as [string];
    const [pad] = readAttribute(node, "pads") as [number];
    const width = 2 + 2 * pad; // of the kernels that double a size exactly
    const size = this.sizes.get(features)!;
    const name = (part: string) => `${output}.${part}`;
    const shape = (part: string, lengths: Shape) => {
      this.constants.push(makeTensor(name(part), BigInt64Array.from(lengths.map(BigInt)), [lengths.length]));
      return name(part);
    };
    const apart = shape("apart_shape", [-1, ...size.flatMap((n) => [n, 1])]);
    const wide = shape("wide_shape", [1, -1, ...size.map((n) => 2 * n)]);
    this.made.push(
      makeNode("Reshape", [features, apart], name("apart")),
      makeNode("Mul", [name("apart"), "first_of_two"], name("spread")),
      makeNode("Reshape", [name("spread"), wide], name("wide")),
      makeNode("Transpose", [kernel], name("turned"), [makeAttribute("perm", [1, 0, 2, 3, 4])]),
      makeNode("Slice", [name("turned"), "flip_start", "flip_end", "flip_axes", "flip_step"], name("kernel")),
      makeNode("Conv", [name("wide"), name("kernel"), ...bias], output, [
        makeAttribute("pads", [...Array<number>(3).fill(width - 1 - pad), ...Array<number>(3).fill(pad)]),
        makeAttribute("kernel_shape", Array<number>(3).fill(width)),
      ]),
    );
  }

  /** Groups that all see the same features are one convolution of these. */
  private ungroup(node: Message, makers: Map<string, Message>): void {
    const [tiled, ...rest] = node.texts(NODE.input) as [string, ...string[]];
    const [features] = makers.get(tiled)!.texts(NODE.input) as [string];
    const kept = node.messages(NODE.attribute).filter((one) => one.texts(1)[0] !== "group");
    this.made.push(node.set(NODE.input, [features, ...rest]).set(NODE.attribute, kept));
  }
}

function dropUnused(nodes: readonly Message[], output: string): Message[] {
  const used = new Set([output]);
  const kept: Message[] = [];
  for (const node of [...nodes].reverse()) {
    if (!node.texts(NODE.output).some((name) => used.has(name))) continue;
    kept.unshift(node);
    for (const name of node.texts(NODE.input)) used.add(name);
  }
  return kept;
}
