/** The page's side of the worker: asks, hears of progress, and starts a new one where one has died. */

import type { Step } from "../stripper";
import type { Answer, Failure, Task, Tasks } from "./protocol";

const DEAD = "the browser has stopped the work, most likely for want of memory. Close other tabs, or use the command line.";

/** What went wrong in the worker, in words for people. */
export class WorkError extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

/** The user has stopped the work. */
export class Cancelled extends Error {}

interface Waiting {
  resolve: (value: never) => void;
  reject: (error: Error) => void;
  onStep?: (step: Step) => void;
}

export class Client {
  private worker: Worker | null = null;
  private loading: Promise<Tasks["load"]["get"]> | null = null;
  private webgpu = false;
  private readonly waiting = new Map<number, Waiting>();
  private count = 0;
  /** Called when the worker has died of itself, and all that it held is lost. */
  onDeath: (error: Error) => void = () => undefined;

  constructor(private readonly threads: number) {}

  /** Have a task done, once the networks are loaded. */
  async ask<K extends Task>(task: K, give: Tasks[K]["give"], onStep?: (step: Step) => void): Promise<Tasks[K]["get"]> {
    await this.load();
    return this.send(task, give, onStep);
  }

  /** Load the networks, at the first call or after a worker has died. */
  load(): Promise<Tasks["load"]["get"]> {
    this.loading ??= this.start().catch((error: unknown) => {
      this.loading = null;
      throw error;
    });
    return this.loading;
  }

  /** Whether there is a worker that may hold a scan. */
  get isAlive(): boolean {
    return this.worker !== null;
  }

  /** Have the graphics card run the networks, or the processor; a worker that is there keeps its scan. */
  async useWebgpu(webgpu: boolean): Promise<Tasks["load"]["get"]> {
    this.webgpu = webgpu;
    this.loading = null;
    const answer = await this.load();
    if (answer.refusal) {
      this.webgpu = false;
      this.loading = Promise.resolve({ refusal: "" }); // which is said once
    }
    return answer;
  }

  /** Stop at once whatever is done: nothing else stops a network in its middle. */
  cancel(): void {
    this.stop(new Cancelled("stopped"));
  }

  private start(): Promise<Tasks["load"]["get"]> {
    if (!this.worker) this.startWorker();
    return this.send("load", { base: document.baseURI, threads: this.threads, webgpu: this.webgpu });
  }

  private startWorker(): void {
    this.worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }: MessageEvent<Answer>) => this.hear(data);
    this.worker.onerror = (event) => {
      event.preventDefault();
      const error = new WorkError({ message: event.message ? `the work has failed (${event.message}). Try it again.` : DEAD });
      this.stop(error);
      this.onDeath(error);
    };
  }

  private send<K extends Task>(task: K, give: Tasks[K]["give"], onStep?: (step: Step) => void): Promise<Tasks[K]["get"]> {
    const id = this.count++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, onStep });
      this.worker!.postMessage({ id, task, give });
    });
  }

  private hear(answer: Answer): void {
    const waiting = this.waiting.get(answer.id);
    if (!waiting) return;
    if (answer.kind === "step") {
      waiting.onStep?.(answer.step);
      return;
    }
    this.waiting.delete(answer.id);
    if (answer.kind === "done") waiting.resolve(answer.value as never);
    else waiting.reject(new WorkError(answer.failure));
  }

  private stop(error: Error): void {
    this.worker?.terminate();
    this.worker = this.loading = null;
    const all = [...this.waiting.values()];
    this.waiting.clear();
    for (const { reject } of all) reject(error);
  }
}
