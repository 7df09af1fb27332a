// @vladmandic/human on the WASM backend. Its detector runs through its own detect(); its emotion network, which has no call of
// its own, is loaded by it and run here on what its documentation and source ask for: grey, 64 x 64, -1 to 1.

import { modules, need, serve } from './port.mjs';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

// It loads models with fetch, and Node's fetch reads no files.
globalThis.fetch = async (url) => new Response(readFileSync(fileURLToPath(url)));

const tf = need('@tensorflow/tfjs-core');
const { Human } = need(path.join(modules, '@vladmandic/human/dist/human.node-wasm.js')); // not among its exports by name

const off = { enabled: false };
const human = new Human({
  backend: 'wasm',
  wasmPath: path.join(modules, '@tensorflow/tfjs-backend-wasm/dist/'),
  modelBasePath: pathToFileURL(path.join(modules, '@vladmandic/human/models/')).href,
  async: false,
  cacheModels: false,
  cacheSensitivity: 0, // every frame is looked at
  skipAllowed: false,
  filter: off,
  gesture: off,
  face: { detector: { maxDetected: 10 }, mesh: off, iris: off, description: off, emotion: { enabled: true } },
  body: off,
  hand: off,
});
await human.load();
const emotion = human.models.models.emotion;
const detectOnly = { face: { emotion: off } };

const words = ['angry', 'disgust', 'fear', 'happy', 'sad', 'surprise', 'neutral'];
const grey = tf.tensor1d([0.2989, 0.587, 0.114]);

async function readFace(picture) {
  const answer = tf.tidy(() => {
    const resized = tf.image.resizeBilinear(tf.expandDims(picture), [64, 64]);
    const level = tf.sum(tf.mul(tf.div(resized, 255), grey), 3, true);
    return emotion.execute(tf.mul(tf.sub(level, 0.5), 2));
  });
  const values = await answer.data();
  answer.dispose();
  return words[values.indexOf(Math.max(...values))];
}

async function findFaces(picture) {
  const found = await human.detect(picture, detectOnly);
  return found.face.length;
}

await serve(tf, readFace, findFaces);
