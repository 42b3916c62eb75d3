/** A command as it travels over a link: about 150 bytes of JSON. */
export const command = {
  location: 'berlin',
  module: 'mod-display-17',
  method: 'set',
  args: ['input', 'hdmi-2', { fade_ms: 250 }],
  user: 'operator@example.org',
  requestId: '7f3a9c0d5e1b2468',
};

/** The same size in the client protocol, without its id. */
export const execCommand = { cmd: 'exec', sys: 'sys-berlin', mod: 'Display', index: 1, name: 'echo', args: [{ input: 'hdmi-2', fade_ms: 250, user: 'operator@example.org' }] };

/** A status value, about 100 bytes of JSON. */
export const statusValue = (n: number): { n: number; input: string; power: boolean; volume: number; label: string } => ({
  n,
  input: 'hdmi-2',
  power: true,
  volume: 37,
  label: 'Boardroom on the second floor, east side',
});
