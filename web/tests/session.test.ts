/** What a session does when it is told to stop. */

import { expect, it, vi } from "vitest";

import { Session } from "../src/page/session";
import type { Client } from "../src/worker/client";

const converter = vi.hoisted(() => ({ isRunning: false, terminate: vi.fn() }));

vi.mock("../src/page/viewer", () => ({ Viewer: class { blank(): void {} } })); // it needs a page
vi.mock("@niivue/dcm2niix", () => ({
  Dcm2niix: class {
    worker = converter;
    init = () => Promise.resolve(true);
    input = () => this;
    b = () => this;
    ba = () => this;
    z = () => this;
    f = () => this;
    run = () => {
      converter.isRunning = true;
      return new Promise(() => undefined); // it never comes to an end
    };
  },
}));

it("stops while DICOM is converted, and goes on with nothing of it", async () => {
  const ask = vi.fn();
  const client = { load: async () => ({ refusal: "" }), cancel: vi.fn(), ask, isAlive: true } as unknown as Client;
  const nothing = () => undefined;
  const session = new Session(client, { onBusy: nothing, onChange: nothing, onSaid: nothing, onUnseen: nothing, onChoice: async () => null });
  const working = session.add([new File(["slice"], "IM0001"), new File(["slice"], "IM0002")]);
  await vi.waitUntil(() => converter.isRunning);
  session.cancel();
  await working;
  expect(session.queue.entries.map(({ state, message }) => [state, message])).toEqual([["stopped", "stopped"]]);
  expect(converter.terminate).toHaveBeenCalled();
  expect(ask).not.toHaveBeenCalled();
});
