import { watch } from '@memwatch/node';

export interface Reading {
  degrees: number;
}

export const board: Float64Array = watch(new Float64Array(2));

export function record(reading: Reading, at: number): void {
  board[at] = reading.degrees;
}
