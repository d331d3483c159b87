// As calls.py, for openai's client for JavaScript: node calls.cjs URL
const OpenAI = require("openai");

const MODEL = "minilm-int8";

async function main() {
  const texts = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "none" });
  const vectors = async (options) =>
    (await client.embeddings.create({ model: MODEL, input: texts, ...options })).data.map(
      (each) => Array.from(each.embedding),
    );
  const refused = async (options) => {
    try {
      await vectors(options);
    } catch (error) {
      return [error.status, error.message];
    }
    throw new Error("not refused");
  };
  const models = [];
  for await (const each of client.models.list()) models.push(each.id);
  console.log(
    JSON.stringify({
      query: await vectors({}),
      float: await vectors({ encoding_format: "float" }),
      short: await vectors({ dimensions: 64 }),
      document: await vectors({ role: "document" }),
      models,
      model: (await client.models.retrieve(MODEL)).id,
      tokens: await refused({ input: [[1, 2], [3]] }),
      unknown: await refused({ model: "text-embedding-3-small" }),
      empty: await refused({ input: [] }),
    }),
  );
}

main();
