// Pictures in rows of one height that fill the width, as on a light table. Pure arithmetic.

/**
 * @param ratios width / height of each picture
 * @param width of a row, in pixels; so gap, and height: what a row should come close to
 * @returns a {width, height, row} for each picture, known before any of them is loaded
 */
export function justified(ratios, width, height, gap) {
  const placed = [];
  let row = 0;
  for (let start = 0; start < ratios.length; row += 1) {
    const { length, tall } = nextRow(ratios, start, width, height, gap);
    const full = start + length < ratios.length || tall <= height;
    const used = full ? tall : Math.min(tall, placed.at(-1)?.height ?? height);
    let left = width - gap * (length - 1);
    for (let place = start; place < start + length; place += 1) {
      const last = place === start + length - 1;
      const wide = full && last ? left : Math.floor(used * ratios[place]);
      placed.push({ width: wide, height: Math.round(used), row });
      left -= wide;
    }
    start += length;
  }
  return placed;
}

/** How many pictures the row takes whose height comes closest to the wish, and that height. */
function nextRow(ratios, start, width, height, gap) {
  let sum = 0;
  let before = null;
  for (let length = 1; start + length <= ratios.length; length += 1) {
    sum += ratios[start + length - 1];
    const tall = (width - gap * (length - 1)) / sum;
    if (tall <= height) {
      return before && before.tall - height < height - tall ? before : { length, tall };
    }
    before = { length, tall };
  }
  return before;
}

/** The picture of the row above (-1) or below (+1) that stands closest, or null at the edge. */
export function neighbour(placed, at, step) {
  const row = placed[at].row + step;
  const middle = middles(placed);
  const others = placed.map((_, place) => place).filter((place) => placed[place].row === row);
  if (!others.length) return null;
  const away = (place) => Math.abs(middle[place] - middle[at]);
  return others.reduce((best, place) => (away(place) < away(best) ? place : best));
}

function middles(placed) {
  let left = 0;
  return placed.map((one, place) => {
    if (place && placed[place - 1].row !== one.row) left = 0;
    const middle = left + one.width / 2;
    left += one.width;
    return middle;
  });
}
