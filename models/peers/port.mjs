// The side of a worker that runs in Node: one request a line on stdin, followed by its pixels; one answer a line on stdout.
// What is asked and answered is said in port.py. Pixels arrive through the pipe and are never written anywhere.

import { readSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

// Libraries talk to the console, and stdout is ours.
for (const name of ['log', 'info', 'debug', 'warn']) console[name] = console.error;

export const folder = path.resolve(process.argv[2]);
export const modules = path.join(folder, 'node_modules');
export const need = createRequire(path.join(folder, 'package.json'));

/** Exactly `count` bytes from stdin, or null when it has ended. */
function read(count) {
  const all = Buffer.alloc(count);
  let filled = 0;
  while (filled < count) {
    const more = readSync(0, all, filled, count - filled, null);
    if (more === 0) return null;
    filled += more;
  }
  return all;
}

/** The next request, or null when there is none any more. */
function request() {
  const line = [];
  for (;;) {
    const byte = read(1);
    if (byte === null) return null;
    if (byte[0] === 10) return JSON.parse(Buffer.from(line).toString());
    line.push(byte[0]);
  }
}

function answer(value) {
  const all = Buffer.from(`${JSON.stringify(value)}\n`);
  for (let sent = 0; sent < all.length;) sent += writeSync(1, all, sent);
}

/** What the work returned, and how long it took: [value, wall milliseconds, milliseconds of this process on a processor]. */
async function timed(work) {
  const cpu = process.cpuUsage();
  const began = performance.now();
  const value = await work();
  const wall = performance.now() - began;
  const used = process.cpuUsage(cpu);
  return [value, wall, (used.user + used.system) / 1000];
}

/**
 * Answer requests until stdin ends.
 * @param tf TensorFlow.js as the peer uses it
 * @param readFace tensor [side, side, 3] of 0..255 -> the peer's own word for the emotion
 * @param findFaces tensor [height, width, 3] of 0..255 -> how many faces
 */
export async function serve(tf, readFace, findFaces) {
  const version = tf.version_core ?? tf.version['tfjs-core'];
  answer({ ready: true, runtime: `tfjs ${version} ${tf.getBackend()}, Node ${process.versions.node}` });
  for (let asked = request(); asked !== null; asked = request()) {
    const { count, height, width, channels } = asked;
    const size = height * width;
    const pixels = read(count * size * channels);
    if (pixels === null) return;
    const result = { said: [], wall: [], cpu: [] };
    for (let n = 0; n < count; n += 1) {
      const rgb = new Int32Array(size * 3);
      for (let i = 0; i < size * 3; i += 1) rgb[i] = pixels[channels === 3 ? n * size * 3 + i : n * size + Math.floor(i / 3)];
      const picture = tf.tensor3d(rgb, [height, width, 3], 'int32');
      const [value, wall, cpu] = await timed(() => (asked.do === 'faces' ? readFace : findFaces)(picture));
      picture.dispose();
      result.said.push(value);
      result.wall.push(wall);
      result.cpu.push(cpu);
      rgb.fill(0);
    }
    pixels.fill(0);
    answer(result);
  }
}
