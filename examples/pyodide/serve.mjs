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
const patience = 120_000; // milliseconds that a client may take none of what was said before the end
const [port = "7010"] = process.argv.slice(2);
const examples = dirname(dirname(fileURLToPath(import.meta.url)));
const installed = createRequire(join(process.cwd(), "package.json")).resolve("pyodide/pyodide.mjs");
const { loadPyodide } = await import(pathToFileURL(installed));
const python = await loadPyodide();

const copy = (folder, name, recursive = false) => {
  python.FS.mkdirTree(`/home/pyodide/${name}`);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (recursive && entry.isDirectory()) {
      copy(join(folder, entry.name), `${name}/${entry.name}`, true);
    } else if (entry.name.endsWith(".py")) {
      python.FS.writeFile(`/home/pyodide/${name}/${entry.name}`, readFileSync(join(folder, entry.name)));
    }
  }
};
copy(join(examples, "..", "handlers"), "handlers", true);
copy(join(examples, "..", "reactor"), "reactor", true);
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
  let ours;
  const tell = (news) => {
    if (ours === undefined) return; // Python has closed it, and hears no more of it
    news(ours);
    step();
  };
  const link = {
    write(data) {
      const bytes = data.toJs();
      data.destroy?.();
      socket.write(bytes, () => tell((python) => python.passed_on(bytes.length)));
    },
    more: () => socket.resume(),
    end: () => socket.end(),
    close() {
      ours.destroy();
      ours = undefined;
      socket.setTimeout(patience, () => socket.destroy());
      socket.resume();
      socket.destroySoon();
    },
  };
  ours = world.connected(server.address().port, link, socket.remoteAddress, socket.remotePort);
  socket.on("data", (data) => {
    if (ours === undefined) socket.resetAndDestroy(); // nobody will read it, and the client is to know
    else socket.pause();
    tell((python) => python.arrives(new Uint8Array(data)));
  });
  socket.on("end", () => tell((python) => python.ended()));
  socket.on("error", (error) => tell((python) => python.broke(error.message)));
  if (ours === undefined) socket.destroy();
  else step();
});

server.listen(Number(port), host, () => {
  everywhere.serve(world.loop, host, server.address().port);
  step();
  console.error(`listening on ${host}:${server.address().port}`);
});
