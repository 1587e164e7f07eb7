/* Loads a SavedModel by @tensorflow/tfjs-node and asks it about images.

   node tfjs_node.js ADDON SAVED_MODEL SIGNATURE OUTPUT IMAGE...

   prints JSON: the names of all signatures, and the texts of an output. */

const fs = require('fs');
const path = require('path');
const [addon, folder, signature, output, ...images] = process.argv.slice(2);

// The package asks `find` where its compiled part is.
const place = path.dirname(require.resolve('@tensorflow/tfjs-node'));
const builder = path.dirname(require.resolve('@mapbox/node-pre-gyp', {paths: [place]}));
require(path.join(builder, 'pre-binding')).find = () => addon;
const tf = require('@tensorflow/tfjs-node');

async function main() {
  const [graph] = await tf.node.getMetaGraphsFromSavedModel(folder);
  const model = await tf.node.loadSavedModel(folder, ['serve'], signature);
  const encoded = images.map((image) => new Uint8Array(fs.readFileSync(image)));
  const answer = model.predict({image_bytes: tf.tensor(encoded, [encoded.length], 'string')});
  const texts = answer[output].dataSync();
  console.log(JSON.stringify([Object.keys(graph.signatureDefs), Array.from(texts)]));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
