// The brain in 3D, by NiiVue, which is loaded when it is wanted for the first time.

let niivue = null, shown = null;

function loadNiivue() {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "static/niivue.umd.js";
    script.onload = () => resolve(window.niivue);
    script.onerror = () => reject(new Error("NiiVue cannot be loaded"));
    document.head.append(script);
  });
}

/**
 * Show the scan within a mask.
 * @param {HTMLCanvasElement} canvas
 * @param {ArrayBuffer} file  the NIfTI file of the scan
 * @param {Uint8Array} mask
 * @param {number} depth      see `clip`
 * @param {() => Promise<object>} load  loads NiiVue
 */
export async function showBrain(canvas, file, mask, depth, load = loadNiivue) {
  if (!niivue) {
    const { Niivue, SLICE_TYPE } = await load();
    niivue = new Niivue({ backColor: [0, 0, 0, 1], clipPlaneColor: [0, 0, 0, 0], dragAndDropEnabled: false, isOrientCube: true, show3Dcrosshair: false,
      loadingText: "", logLevel: "error", clipPlaneHotKey: "", viewModeHotKey: "", cycleClipPlaneHotKey: "" });
    await niivue.attachToCanvas(canvas);
    canvas.style.display = ""; // NiiVue would have it shown in every view
    niivue.setSliceType(SLICE_TYPE?.RENDER ?? niivue.sliceTypeRender);
  }
  const copy = file.slice(0), data = new Int16Array(copy, 352);
  for (let i = 0; i < mask.length; i++) if (!mask[i]) data[i] = -32767;
  if (shown) niivue.removeVolume(shown);
  await niivue.loadFromArrayBuffer(copy, "brain.nii");
  shown = niivue.volumes[0];
  clip(depth);
}

/** Cut the brain by a plane across the view from the side. @param {number} depth from -1 to 1; 2 does not cut */
export function clip(depth) {
  niivue?.setClipPlane([depth, 270, 0]);
}
