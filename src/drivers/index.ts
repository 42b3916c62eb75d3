import type { Driver } from '../driver-sdk/index.ts';
import { mockDriver } from './mock/driver.ts';
import { mpdDriver } from './mpd/driver.ts';
import { nutDriver } from './nut/driver.ts';
import { pauseOnBatteryDriver } from './pause-on-battery/driver.ts';
import { snmpDriver } from './snmp/driver.ts';

/** The drivers that come with Holdfast, by name; `builtin` of a driver document names one of them. */
export const builtinDrivers: Readonly<Record<string, Driver>> = Object.fromEntries(
  [mockDriver, mpdDriver, nutDriver, pauseOnBatteryDriver, snmpDriver].map((driver) => [driver.name, driver]),
);
