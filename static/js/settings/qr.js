// A text as a QR code (ISO/IEC 18004): bytes, error correction M, versions 1 to 10, that is up to 213 bytes. Pure.

/** Codewords of error correction in each block, and blocks, by version. */
const CORRECTION = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26];
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5];
const BYTES = 0b0100;
const PADDING = [0xec, 0x11];
const LEVEL_M = 0b00;
const FORMAT = { divisor: 0x537, mask: 0x5412 };
const VERSION_DIVISOR = 0x1f25;
const MASKS = [
  (x, y) => (x + y) % 2, (x, y) => y % 2, (x) => x % 3, (x, y) => (x + y) % 3,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2, (x, y) => ((x * y) % 2) + ((x * y) % 3),
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2, (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
];

/**
 * @param text what the code says
 * @param mask 0 to 7; the best of them unless it is given
 * @returns {boolean[][]} rows of modules, true is dark; without the quiet zone of 4 modules around it
 * @throws {RangeError} the text is too long
 */
export function qr(text, mask = null) {
  const bytes = new TextEncoder().encode(text);
  const version = fitting(bytes.length);
  const codewords = interleaved(version, dataOf(bytes, version));
  const drawn = (mask === null ? MASKS.map((_, n) => n) : [mask]).map((n) => draw(version, codewords, n));
  return drawn.reduce((best, one) => (penalty(one) < penalty(best) ? one : best));
}

function fitting(length) {
  const version = CORRECTION.findIndex((_, index) => length * 8 <= dataBits(index + 1) - 4 - countBits(index + 1)) + 1;
  if (!version) throw new RangeError("the text is too long for a QR code of version 10");
  return version;
}

const sizeOf = (version) => 17 + 4 * version;
const countBits = (version) => (version < 10 ? 8 : 16);
const dataBits = (version) => 8 * (totalCodewords(version) - CORRECTION[version - 1] * BLOCKS[version - 1]);

function totalCodewords(version) {
  let modules = (16 * version + 128) * version + 64;
  if (version >= 2) {
    const centres = Math.floor(version / 7) + 2;
    modules -= (25 * centres - 10) * centres - 55;
    if (version >= 7) modules -= 36;
  }
  return modules >> 3;
}

/** Mode, length, bytes and padding as codewords. */
function dataOf(bytes, version) {
  const bits = [];
  const put = (value, count) => { for (let bit = count - 1; bit >= 0; bit -= 1) bits.push((value >> bit) & 1); };
  put(BYTES, 4);
  put(bytes.length, countBits(version));
  bytes.forEach((byte) => put(byte, 8));
  const room = dataBits(version);
  put(0, Math.min(4, room - bits.length));
  put(0, (8 - (bits.length % 8)) % 8);
  for (let n = 0; bits.length < room; n += 1) put(PADDING[n % 2], 8);
  return Array.from({ length: room / 8 }, (_, n) => bits.slice(n * 8, n * 8 + 8).reduce((sum, bit) => (sum << 1) | bit, 0));
}

/** In GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1, as Reed and Solomon need it. */
function times(a, b) {
  let product = 0;
  for (let bit = 7; bit >= 0; bit -= 1) product = (product << 1) ^ ((product >> 7) * 0x11d) ^ (((b >> bit) & 1) * a);
  return product;
}

function generator(degree) {
  const polynomial = Array(degree).fill(0);
  polynomial[degree - 1] = 1;
  for (let n = 0, root = 1; n < degree; n += 1, root = times(root, 2)) {
    for (let at = 0; at < degree; at += 1) polynomial[at] = times(polynomial[at], root) ^ (polynomial[at + 1] ?? 0);
  }
  return polynomial;
}

function remainder(data, divisor) {
  const rest = Array(divisor.length).fill(0);
  for (const byte of data) {
    const factor = byte ^ rest.shift();
    rest.push(0);
    divisor.forEach((coefficient, at) => { rest[at] ^= times(coefficient, factor); });
  }
  return rest;
}

/** Blocks with their error correction, taken one codeword of each in turn. The last blocks may be one longer. */
function interleaved(version, data) {
  const count = BLOCKS[version - 1];
  const divisor = generator(CORRECTION[version - 1]);
  const short = Math.floor(data.length / count);
  const blocks = [];
  for (let n = 0, from = 0; n < count; n += 1) {
    const length = short + (n >= count - (data.length % count) ? 1 : 0);
    const part = data.slice(from, from + length);
    blocks.push({ part, check: remainder(part, divisor) });
    from += length;
  }
  const across = (name, length) => Array.from({ length }, (_, at) => blocks.map((block) => block[name][at])).flat();
  return [...across("part", short + 1), ...across("check", divisor.length)].filter((byte) => byte !== undefined);
}

function draw(version, codewords, mask) {
  const size = sizeOf(version);
  const dark = Array.from({ length: size }, () => Array(size).fill(false));
  const fixed = Array.from({ length: size }, () => Array(size).fill(false));
  const set = (x, y, value) => {
    if (x < 0 || y < 0 || x >= size || y >= size) return;
    dark[y][x] = Boolean(value);
    fixed[y][x] = true;
  };
  for (let n = 0; n < size; n += 1) [[n, 6], [6, n]].forEach(([x, y]) => set(x, y, n % 2 === 0));
  for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]]) square(x, y, 4, (ring) => ring !== 2 && ring !== 4, set);
  const centres = alignment(version);
  const last = centres.length - 1;
  centres.forEach((x, i) => centres.forEach((y, j) => {
    if (!(i === 0 && j === 0) && !(i === 0 && j === last) && !(i === last && j === 0)) square(x, y, 2, (ring) => ring !== 1, set);
  }));
  drawFormat(size, mask, set);
  if (version >= 7) drawVersion(size, version, set);
  fill(size, codewords, (x, y) => !fixed[y][x], (x, y, bit) => { dark[y][x] = Boolean(bit) !== (MASKS[mask](x, y) === 0); });
  return dark;
}

function square(x, y, radius, isDark, set) {
  for (let dy = -radius; dy <= radius; dy += 1) {
    for (let dx = -radius; dx <= radius; dx += 1) set(x + dx, y + dy, isDark(Math.max(Math.abs(dx), Math.abs(dy))));
  }
}

function alignment(version) {
  if (version === 1) return [];
  const count = Math.floor(version / 7) + 2;
  const step = Math.ceil((version * 4 + 4) / (count * 2 - 2)) * 2;
  const rest = Array.from({ length: count - 1 }, (_, n) => sizeOf(version) - 7 - n * step);
  return [6, ...rest.reverse()];
}

function checked(value, degree, divisor) {
  let rest = value;
  for (let n = 0; n < degree; n += 1) rest = (rest << 1) ^ ((rest >> (degree - 1)) * divisor);
  return (value << degree) | rest;
}

function drawFormat(size, mask, set) {
  const bits = checked((LEVEL_M << 3) | mask, 10, FORMAT.divisor) ^ FORMAT.mask;
  for (let n = 0; n < 15; n += 1) {
    const bit = (bits >> n) & 1;
    if (n < 8) set(8, n < 6 ? n : n + 1, bit);
    else set(n === 8 ? 7 : 14 - n, 8, bit);
    if (n < 8) set(size - 1 - n, 8, bit);
    else set(8, size - 15 + n, bit);
  }
  set(8, size - 8, 1);
}

function drawVersion(size, version, set) {
  const bits = checked(version, 12, VERSION_DIVISOR);
  for (let n = 0; n < 18; n += 1) {
    const [far, near] = [size - 11 + (n % 3), Math.floor(n / 3)];
    [[far, near], [near, far]].forEach(([x, y]) => set(x, y, (bits >> n) & 1));
  }
}

/** In columns of two from the right, up and down by turns. */
function fill(size, codewords, isFree, put) {
  let at = 0;
  for (let right = size - 1, up = true; right > 0; right -= 2, up = !up) {
    if (right === 6) right = 5;
    for (let n = 0; n < size; n += 1) {
      for (const x of [right, right - 1]) {
        const y = up ? size - 1 - n : n;
        if (isFree(x, y)) put(x, y, (codewords[at >> 3] >> (7 - (at & 7))) & 1, (at += 1));
      }
    }
  }
}

/** How hard it is to read: long runs, blocks, false finders, and too much of one colour. */
function penalty(rows) {
  const size = rows.length;
  const lines = [...rows, ...rows.map((_, x) => rows.map((row) => row[x]))].map((line) => line.map(Number).join(""));
  let sum = 0;
  for (const line of lines) {
    for (const [run] of line.matchAll(/0{5,}|1{5,}/g)) sum += run.length - 2;
    sum += 40 * [...line.matchAll(/(?=10111010000|00001011101)/g)].length;
  }
  for (let y = 1; y < size; y += 1) {
    for (let x = 1; x < size; x += 1) {
      const corner = rows[y][x];
      if (rows[y - 1][x] === corner && rows[y][x - 1] === corner && rows[y - 1][x - 1] === corner) sum += 3;
    }
  }
  const share = rows.flat().filter(Boolean).length / (size * size);
  return sum + 10 * Math.floor(Math.abs(share - 0.5) * 20);
}
