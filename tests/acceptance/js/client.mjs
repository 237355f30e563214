// One stock client: its kind and its settings come as arguments, calls as JSON lines, answers and events go back so.

import { createInterface } from "node:readline";

import { DerivativesTradingPortfolioMargin } from "@binance/derivatives-trading-portfolio-margin";
import { PortfolioClient, WebsocketClient } from "binance";

const [kind, text] = process.argv.slice(2);
const { url, apiKey, secret } = JSON.parse(text);
const isPem = secret.includes("PRIVATE KEY");

// What the clients log must not stand among the answers.
for (const level of ["log", "info", "debug", "warn"]) console[level] = console.error;

const send = (line) =>
  process.stdout.write(`${JSON.stringify(line, (_, value) => (typeof value === "bigint" ? JSON.rawJSON(`${value}`) : value))}\n`);

function official() {
  const streams = url.replace("http:", "ws:");
  const client = new DerivativesTradingPortfolioMargin({
    configurationRestAPI: {
      apiKey,
      ...(isPem ? { privateKey: secret } : { apiSecret: secret }),
      basePath: url,
      timeout: 20_000,
      retries: 0,
    },
    configurationWebsocketStreams: { wsURL: `${streams}/pm` },
  });
  const signed = (method, path, parameters) => client.restAPI.sendSignedRequest(path, method, parameters);
  return {
    call: async (name, parameters) => (await client.restAPI[name](parameters)).data(),
    signed: async (method, path, parameters) => (await signed(method, path, parameters)).data(),
    listen: async () => {
      const { listenKey } = await (await client.restAPI.startUserDataStream()).data();
      const connection = await client.websocketStreams.connect();
      const stream = connection.userData(listenKey);
      stream.on("message", (event) => send({ event }));
      return { listenKey };
    },
  };
}

function siebly() {
  const client = new PortfolioClient({ api_key: apiKey, api_secret: secret, baseUrl: url });
  return {
    call: (name, parameters) => client[name](parameters),
    listen: async () => {
      const stream = new WebsocketClient({
        api_key: apiKey,
        api_secret: secret,
        wsUrl: url.replace("http:", "ws:"),
        restOptions: { baseUrl: url },
      });
      stream.on("message", (event) => send({ event }));
      stream.on("exception", (problem) => console.error(problem));
      const opened = new Promise((resolve) => stream.once("open", resolve));
      await stream.subscribePortfolioMarginUserDataStream();
      await opened;
      return {};
    },
  };
}

const client = { official, siebly }[kind]();
for await (const line of createInterface({ input: process.stdin })) {
  const { verb, args } = JSON.parse(line);
  try {
    send({ answer: await client[verb](...args) });
  } catch (error) {
    send({ error: { name: error.name ?? "", code: error.code ?? null, message: `${error.message}` } });
  }
}
process.exit(0);
