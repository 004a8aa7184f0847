// Threshold and border, that a mask is made with. The setting of a scan may lie between the steps of
// its slider or beyond the slider's end: it counts as it is until that slider is moved.

const $ = (id) => document.getElementById(id);

export class Sliders {
  /** @param {() => void} moved called when one was moved */
  constructor(moved) {
    this.set({ threshold: $("threshold").value, border: $("border").value });
    for (const id of ["threshold", "border"])
      $(id).addEventListener("input", () => {
        this.values = { ...this.values, [id]: Number($(id).value) };
        this.show();
        moved();
      });
  }

  /** @param {{threshold: number, border: number}} values */
  set(values) {
    this.values = values;
    for (const id of ["threshold", "border"]) $(id).value = values[id];
    this.show();
  }

  show() {
    const { threshold, border } = this.values;
    $("threshold-value").textContent = Number(threshold).toFixed(2);
    $("border-value").textContent = `${border > 0 ? "+" : ""}${border} mm`;
  }
}
