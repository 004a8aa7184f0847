/** Bytes of a file in their order, unpacked on the way, and never more than were asked for. */

import { Gunzip } from "fflate";

import { ImageFileError } from "../errors";

const GZIP = [0x1f, 0x8b];
const BEHIND = /junk|trailing|(after|past) the end|header check/i; // words of the engines for bytes behind the first stream

/** Reads a file from its start on, through gzip if its content is gzip whatever its name. */
export class ByteReader {
  private chunk: Uint8Array = new Uint8Array(0);
  private done = false;
  /** Bytes that the stream has given so far. */
  private given = 0;
  /** What was left out, as a note; empty if nothing was. */
  private behind = "";

  private constructor(
    private reader: ReadableStreamDefaultReader<Uint8Array>,
    private readonly file: Blob,
    readonly name: string,
    private readonly encoding: string,
  ) {}

  static async open(file: Blob, name: string, encoding: CompressionFormat | "" | "detect" = "detect"): Promise<ByteReader> {
    if (encoding === "detect") {
      const [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
      encoding = first === GZIP[0] && second === GZIP[1] ? "gzip" : "";
    }
    const stream = encoding ? file.stream().pipeThrough(new DecompressionStream(encoding)) : file.stream();
    return new ByteReader(stream.getReader() as ReadableStreamDefaultReader<Uint8Array>, file, name, encoding);
  }

  /** Exactly so many bytes. */
  async read(count: number): Promise<Uint8Array> {
    const buffer = this.allocate(count);
    const got = await this.fill(buffer);
    if (got < count) throw truncated(this.name, `ends after ${got} of ${count} bytes`);
    return buffer;
  }

  /** At most so many bytes: fewer where the file ends. */
  async readUpTo(count: number): Promise<Uint8Array> {
    const buffer = this.allocate(count);
    return buffer.subarray(0, await this.fill(buffer));
  }

  async skip(count: number): Promise<void> {
    while (count > 0) {
      if (!this.chunk.length && !(await this.next())) throw truncated(this.name, `ends ${count} bytes too early`);
      const part = Math.min(count, this.chunk.length);
      this.chunk = this.chunk.subarray(part);
      count -= part;
    }
  }

  /** All that is left. */
  async rest(): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    while (this.chunk.length || (await this.next())) {
      parts.push(this.chunk);
      this.chunk = new Uint8Array(0);
    }
    const whole = this.allocate(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  /** Read on, so that gzip checks its sum where that is the end of the file, and stop; says what lies behind it. */
  async finish(): Promise<string> {
    if (!this.chunk.length) await this.next();
    this.close();
    return this.behind;
  }

  close(): void {
    this.reader.cancel().catch(() => undefined);
  }

  private allocate(count: number): Uint8Array {
    try {
      return new Uint8Array(count);
    } catch {
      throw new ImageFileError(`${this.name}: not enough memory for ${(count / 1024 ** 2).toFixed(0)} MB of voxels.`);
    }
  }

  private async fill(buffer: Uint8Array): Promise<number> {
    let at = 0;
    while (at < buffer.length) {
      if (!this.chunk.length && !(await this.next())) break;
      const part = this.chunk.subarray(0, buffer.length - at);
      buffer.set(part, at);
      at += part.length;
      this.chunk = this.chunk.subarray(part.length);
    }
    return at;
  }

  /** Get the next chunk that holds something; false at the end. */
  private async next(): Promise<boolean> {
    while (!this.done) {
      try {
        const { value, done } = await this.reader.read();
        this.done = done;
        if (value?.length) {
          this.chunk = value;
          this.given += value.length;
          return true;
        }
      } catch (error) {
        if (this.encoding !== "gzip" || !BEHIND.test(String(error))) throw this.explain(error);
        await this.beginAgain();
        if (this.chunk.length) return true;
      }
    }
    return false;
  }

  /** Unpack a file of several gzip streams, or with something behind them: browsers know only one stream. */
  private async beginAgain(): Promise<void> {
    const before = this.given;
    const stream = this.file.stream().pipeThrough(unpackAll(() => (this.behind = "bytes after its compressed content were ignored")));
    const again = new ByteReader(stream.getReader(), this.file, this.name, this.encoding);
    await again.skip(before);
    [this.reader, this.chunk, this.given] = [again.reader, again.chunk, again.given];
  }

  private explain(error: unknown): ImageFileError {
    const reason = error instanceof Error ? error.message : String(error);
    if (!this.encoding) return new ImageFileError(`${this.name}: cannot be read (${reason}). Is it still there?`);
    if (/truncat|unexpected (end|EOF)/i.test(reason)) {
      return new ImageFileError(`${this.name}: truncated, its ${this.encoding} stream has no end. Copy or download it again.`);
    }
    return new ImageFileError(`${this.name}: damaged ${this.encoding} (${reason}). Copy or download it again.`);
  }
}

/** Unpacks all gzip streams of a file, one after the other; zeros behind them are padding, all else is told. */
function unpackAll(tell: () => void): TransformStream<Uint8Array, Uint8Array> {
  let gunzip: Gunzip;
  let isOver = false;
  return new TransformStream({
    start(controller) {
      gunzip = new Gunzip((part) => part.length && controller.enqueue(part.slice()));
    },
    transform(chunk) {
      try {
        if (!isOver) gunzip.push(chunk);
      } catch (error) {
        if (!/invalid gzip/.test(String(error))) throw error;
        isOver = true; // no stream begins where the last one ended
      }
      if (isOver && chunk.at(-1)) tell();
    },
    flush() {
      if (!isOver) gunzip.push(new Uint8Array(0), true);
    },
  });
}

export function truncated(name: string, where: string): ImageFileError {
  return new ImageFileError(`${name}: truncated, ${where}. Copy or download it again.`);
}

/** Compress bytes as gzip. */
export async function gzip(parts: readonly Uint8Array[]): Promise<Blob> {
  const stream = new Blob([...parts] as BlobPart[]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Response(stream).blob();
}
