/** Where a handshake stands. */
export const NegotiationState = {
  /** The greeting is out, the client's flags are awaited. */
  ClientFlags: 'clientFlags',
  /** Between two options. */
  OptionHeader: 'optionHeader',
  /** Within the data of an option that is known. */
  OptionData: 'optionData',
  /** Within the data of an option that is answered without looking at it. */
  SkipData: 'skipData',
  /** TLS is being set up. */
  Tls: 'tls',
  /** An option waits for an export to be looked up, or for the list of them. */
  Export: 'export',
  /** Nothing more is parsed: requests follow, or the connection ends. */
  Over: 'over',
} as const;
export type NegotiationState = (typeof NegotiationState)[keyof typeof NegotiationState];

/** From where a handshake may go where. */
export const LEGAL_MOVES: Readonly<Record<NegotiationState, readonly NegotiationState[]>> = {
  clientFlags: ['optionHeader', 'over'],
  optionHeader: ['optionData', 'skipData', 'over'],
  optionData: ['optionHeader', 'tls', 'export', 'over'],
  skipData: ['optionHeader', 'over'],
  tls: ['optionHeader'],
  export: ['optionHeader', 'over'],
  over: [],
};
