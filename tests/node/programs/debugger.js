// A debugger, in a process of its own: attaches to ws://…, lets the program run, and says of each pause in JSON, one a line, where it
// is, what the function below knows, and goes on. debugger.js URL [expression [kind of step]]
'use strict';

const [url, expression = '1', step = 'Debugger.resume'] = process.argv.slice(2);
const socket = new WebSocket(url);
const waiting = new Map();
let last = 0, pauses = 0;

function send(method, params = {}) {
  const id = ++last;
  socket.send(JSON.stringify({ id, method, params }));
  return new Promise((done) => waiting.set(id, done));
}

async function paused({ callFrames, reason }) {
  const place = (frame) => ({ file: frame.url.split('/').pop(), line: frame.location.lineNumber + 1, function: frame.functionName });
  const frames = [];
  for (const frame of callFrames.slice(0, 6)) {
    const answer = await send('Debugger.evaluateOnCallFrame', { callFrameId: frame.callFrameId, expression, silent: true });
    frames.push({ ...place(frame), value: answer.result?.exceptionDetails ? null : answer.result?.result.value });
  }
  if (pauses++ || process.env.FIRST !== 'start') console.log(JSON.stringify({ reason, frames }));
  await send(pauses === 1 && process.env.FIRST === 'start' ? 'Debugger.resume' : step);
}

socket.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  waiting.get(message.id)?.(message);
  if (message.method === 'Debugger.paused') void paused(message.params);
  if (message.method === 'Runtime.executionContextDestroyed') socket.close();
};
socket.onopen = async () => {
  await send('Runtime.enable');
  await send('Debugger.enable');
  for (const patterns of process.env.BLACKBOX ? [process.env.BLACKBOX.split(',')] : []) await send('Debugger.setBlackboxPatterns', { patterns });
  await send('Runtime.runIfWaitingForDebugger');
};
socket.onclose = () => process.exit();
