/** What numbers are drawn from the seed of a synthetic snapshot for; part of the rule in docs/EMULATOR.md. */
export const Purpose = {
  /** Where the listed run of a window begins. */
  RunStart: 1,
  /** Which body the first block of a group of 64 has. */
  BodyRotation: 2,
  /** Where the words of a body begin. */
  Body: 3,
  /** Where the words of a block's tail begin. */
  Tail: 4,
} as const;

/** Blocks in one window of the listing rule: 32 MiB. */
export const WINDOW_BLOCKS = 64;

/** Different bodies that the blocks of one seed have. */
export const BODY_COUNT = 64;

/** What is different in every block. */
export const TAIL_BYTES = 4096;
