/** A command as it travels over a link: about 150 bytes of JSON. */
export const command = {
  location: 'berlin',
  module: 'mod-display-17',
  method: 'set',
  args: ['input', 'hdmi-2', { fade_ms: 250 }],
  user: 'operator@example.org',
  requestId: '7f3a9c0d5e1b2468',
};
