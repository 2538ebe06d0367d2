"""`follow` of the JavaScript client in a Node.js process, as a person's program would use it."""

import json
import os
import subprocess
import threading

from tests.session_process import ROOT, until

FOLLOWER = """
const [, , script, dispatcher, options] = process.argv;
const { follow } = await import(script);
const { eager, ws, ...told } = JSON.parse(options);
const given = ws ? { WebSocket: (await import(ws)).default } : {};
const say = (what) => console.log(JSON.stringify(what));
const following = follow(dispatcher, {
  ...told,
  ...given,
  onRecords: (records) => records.forEach(({ data }) => say({ n: data.n })),
  onHello: () => following.send({ filter: {} }),
  onGap: (gap) => say({ gap }),
  onState: ({ phase, error, bye, seconds }) => {
    if (eager && phase === "waiting") queueMicrotask(() => following.retry());
    say({ phase, error, reason: bye?.reason, seconds });
  },
});
process.stdin.on("data", (line) => {
  if (String(line).trim() === "close") following.close();
  if (String(line).trim() === "retry") following.retry();
});
const wait = setInterval(() => {
  if (following.phase === "ended") { clearInterval(wait); process.stdin.destroy(); }
}, 10);
"""


class Follower:
    """Node.js running the module `script`; `said` has the arguments of its handlers.

    Options are those of `follow`; `eager` retries without pauses, `ws` is the path of that package.
    """

    def __init__(self, folder, dispatcher, script=None, **options):
        if script is None:
            script = folder / "client.mjs"
            script.write_bytes((ROOT / "session_handler" / "client.js").read_bytes())
        (folder / "follow.mjs").write_text(FOLLOWER)
        words = subprocess.run(["node", "--help"], capture_output=True, text=True, check=True)
        wanted = "--experimental-websocket" in words.stdout and "ws" not in options
        flags = ["--experimental-websocket"] * wanted
        self.process = subprocess.Popen(  # in `folder`, where packages are installed
            [
                *("node", *flags, "--no-warnings", folder / "follow.mjs"),
                *(script, dispatcher.url, json.dumps(options)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        self.said = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.said.append(json.loads(line))

    @property
    def numbers(self):
        return [said["n"] for said in self.said if "n" in said]

    @property
    def phases(self):
        return [said["phase"] for said in self.said if "phase" in said]

    def until_live(self, times=1):
        until(lambda: self.phases.count("live") >= times, f"live {times} times")

    def send(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def end(self):
        code = self.process.wait(30)
        self.reader.join(5)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.reader.join(5)
        self.process.stdin.close()
        self.process.stdout.close()
