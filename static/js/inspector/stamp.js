// A number drawn as a row of black and white squares, and read again from a picture that has been encoded, drawn upon
// and decoded. Pure: works on brightness, not on pixels.

/** Bits of the number, and of the check behind them. */
const BITS = 12;
const CHECK = 4;
export const SQUARES = BITS + CHECK + 2; // a white and a black one first: what is bright and what is dark here
export const NUMBERS = 1 << BITS;

const checkOf = (number) => ((number ^ (number >> 4) ^ (number >> 8)) + 5) & ((1 << CHECK) - 1);

/** @returns {boolean[]} true for a white square */
export function squaresOf(number) {
  const value = number & (NUMBERS - 1);
  const code = (value << CHECK) | checkOf(value);
  const bits = Array.from({ length: BITS + CHECK }, (_, place) => Boolean((code >> (BITS + CHECK - 1 - place)) & 1));
  return [true, false, ...bits];
}

/** @param brightness of the squares, in order @returns the number; null where it cannot be read */
export function numberOf(brightness) {
  const [white, black, ...rest] = brightness;
  if (rest.length !== BITS + CHECK || white - black < 60) return null;
  const middle = (white + black) / 2;
  if (rest.some((value) => Math.abs(value - middle) < (white - black) / 8)) return null; // half way: a mixed frame
  const code = rest.reduce((sum, value) => (sum << 1) | (value > middle ? 1 : 0), 0);
  const number = code >> CHECK;
  return checkOf(number) === (code & ((1 << CHECK) - 1)) ? number : null;
}
