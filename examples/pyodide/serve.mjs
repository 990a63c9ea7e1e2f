// CPython on Emscripten has no sockets to listen with. Node has: it accepts, reads and writes, and steps the loop.
//
//     npm install pyodide
//     node examples/pyodide/serve.mjs [PORT]        then, elsewhere: nc 127.0.0.1 7010

import { createRequire } from "node:module";
import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const host = "127.0.0.1";
const [port = "7010"] = process.argv.slice(2);
const examples = dirname(dirname(fileURLToPath(import.meta.url)));
const installed = createRequire(join(process.cwd(), "package.json")).resolve("pyodide/pyodide.mjs");
const { loadPyodide } = await import(pathToFileURL(installed));
const python = await loadPyodide();

const copy = (folder, name) => {
  python.FS.mkdirTree(`/home/pyodide/${name}`);
  for (const file of readdirSync(folder).filter((file) => file.endsWith(".py"))) {
    python.FS.writeFile(`/home/pyodide/${name}/${file}`, readFileSync(join(folder, file)));
  }
};
copy(join(examples, "..", "handlers"), "handlers");
copy(join(examples, "..", "reactor"), "reactor");
copy(examples, ".");
copy(join(examples, "pyodide"), ".");

const world = python.runPython("from host import Host; world = Host(); world");
const everywhere = python.pyimport("everywhere");

let timer;
const step = () => {
  clearTimeout(timer);
  const wait = world.step();
  if (wait >= 0) timer = setTimeout(step, Math.min(wait, 2 ** 31 - 1));
};

const server = createServer({ allowHalfOpen: true }, (socket) => {
  const link = {
    write(data) {
      const bytes = data.toJs();
      data.destroy?.();
      socket.write(bytes, () => (ours.passed_on(bytes.length), step()));
    },
    end: () => socket.end(),
    close: () => (socket.resume(), socket.end(), ours.destroy()),
  };
  const ours = world.connected(server.address().port, link, socket.remoteAddress, socket.remotePort);
  socket.on("data", (data) => (ours.arrives(new Uint8Array(data)), step()));
  socket.on("end", () => (ours.ended(), step()));
  socket.on("error", (error) => (ours.broke(error.message), step()));
  step();
});

server.listen(Number(port), host, () => {
  everywhere.serve(world.loop, host, server.address().port);
  step();
  console.error(`listening on ${host}:${server.address().port}`);
});
