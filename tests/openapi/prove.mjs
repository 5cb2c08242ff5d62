// Proves that Prism checks the answers to every operation of the description that it was given: to each it gets an answer that cannot be
// right, as the upstream server would send it, and must refuse to pass it on.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const [, , descriptionFile, proxy, port] = process.argv;
const description = JSON.parse(readFileSync(descriptionFile, "utf8"));

let answer;
const server = createServer((request, response) => {
  request.resume();
  response.writeHead(answer.status, { "content-type": "application/json" });
  response.end(JSON.stringify("neither an object nor a list"));
});
await new Promise((listening, failed) => server.on("error", failed).listen(Number(port), "127.0.0.1", listening));

const passed = [];
let asked = 0;
for (const [path, methods] of Object.entries(description.paths)) {
  // Others need a body of their own, and their answers have the same schemas.
  const described = methods.get;
  const status = Object.keys(described?.responses ?? {}).find((status) => /^2/.test(status));
  if (status === undefined) continue;
  const names = { owner: "octo-org", repo: "leaderboard", username: "octocat", tag: "v1", workflow_id: "evaluate.yml" };
  const concrete = path.replace(/\{([^}]+)\}/g, (_, name) => names[name] ?? "1");
  answer = { status: Number(status) };
  const { status: given } = await fetch(proxy + concrete, { signal: AbortSignal.timeout(30_000) });
  asked += 1;
  if (given !== 500) passed.push(`GET ${path} (${given})`);
}
server.close();
server.closeAllConnections();
if (passed.length > 0 || asked < 10) {
  console.error(`Prism lets wrong answers pass (${asked} asked):\n${passed.join("\n")}`);
  process.exit(1);
}
