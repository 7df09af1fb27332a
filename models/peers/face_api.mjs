// @vladmandic/face-api on the WASM backend: its own nets, its own preprocessing and defaults.
// Called with the folder of the packages and, for its larger detector, 'ssd'.

import { modules, need, serve } from './port.mjs';
import path from 'node:path';

const tf = need('@tensorflow/tfjs');
const wasm = need('@tensorflow/tfjs-backend-wasm');
const faceapi = need('@vladmandic/face-api/dist/face-api.node-wasm.js');

wasm.setWasmPaths(path.join(modules, '@tensorflow/tfjs-backend-wasm/dist/'));
await tf.setBackend('wasm');
await tf.ready();
tf.enableProdMode();

const { faceExpressionNet, tinyFaceDetector, ssdMobilenetv1 } = faceapi.nets;
const [detector, options] = process.argv[3] === 'ssd'
  ? [ssdMobilenetv1, new faceapi.SsdMobilenetv1Options()]
  : [tinyFaceDetector, new faceapi.TinyFaceDetectorOptions()];
const models = path.join(modules, '@vladmandic/face-api/model');
for (const net of [faceExpressionNet, detector]) await net.loadFromDisk(models);

async function readFace(picture) {
  const expressions = await faceExpressionNet.predictExpressions(picture);
  return expressions.asSortedArray()[0].expression;
}

async function findFaces(picture) {
  const found = await faceapi.detectAllFaces(picture, options);
  return found.length;
}

await serve(tf, readFace, findFaces);
