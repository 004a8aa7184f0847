/** What a user may choose about a mask, and the default of each choice: those of the command line. */

/** What a user may choose. */
export interface Settings {
  /** Probability from which on a voxel is brain. */
  threshold: number;
  /** Millimetres by which the mask's surface is moved at the end; plus grows. */
  border: number;
  /** False gives brain tissue and ventricles without the CSF around. */
  csf: boolean;
}

export const DEFAULTS: Settings = { threshold: 0.5, border: 0, csf: true };
/** How far the page's sliders go. */
export const LIMITS = { threshold: [0.01, 0.99], border: [-8, 8] } as const;
