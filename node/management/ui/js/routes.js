// Which page stands at which address, and in which section.

import { adminHome, definitionsPage, parametersPage, settingsPage } from "./pages/admin.js";
import { clusterPage, nodePage } from "./pages/cluster.js";
import { channelPage, channelsPage, connectionPage, connectionsPage } from "./pages/connections.js";
import { exchangePage, exchangesPage } from "./pages/exchanges.js";
import { overviewPage } from "./pages/overview.js";
import { policiesPage } from "./pages/policies.js";
import { queuePage } from "./pages/queue.js";
import { queuesPage } from "./pages/queues.js";
import { shovelPage, shovelsPage } from "./pages/shovels.js";
import { limitsPage } from "./pages/limits.js";
import { loginsPage } from "./pages/logins.js";
import { permissionsPage, userPage, usersPage } from "./pages/users.js";
import { tracePage, tracesPage } from "./pages/traces.js";
import { vhostPage, vhostsPage } from "./pages/vhosts.js";
import { routePreview } from "./preview.js";

const routePage = (context) => ({ title: "Route preview", body: routePreview(context) });

export const routes = [
  ["overview", overviewPage, "overview"],
  ["connections", connectionsPage, "connections"],
  ["connections/:name", connectionPage, "connections"],
  ["channels", channelsPage, "channels"],
  ["channels/:name", channelPage, "channels"],
  ["exchanges", exchangesPage, "exchanges"],
  ["exchanges/:vhost/:name", exchangePage, "exchanges"],
  ["exchanges/:vhost/:name/:tab", exchangePage, "exchanges"],
  ["queues", queuesPage, "queues"],
  ["queues/:vhost/:name", queuePage, "queues"],
  ["queues/:vhost/:name/:tab", queuePage, "queues"],
  ["route", routePage, "route"],
  ["traces", tracesPage, "traces"],
  ["traces/:vhost/:name", tracePage, "traces"],
  ["cluster", clusterPage, "cluster"],
  ["cluster/:name", nodePage, "cluster"],
  ["admin", adminHome, "admin"],
  ["admin/users", usersPage, "admin"],
  ["admin/users/:name", userPage, "admin"],
  ["admin/permissions", permissionsPage, "admin"],
  ["admin/limits", limitsPage, "admin"],
  ["admin/vhosts", vhostsPage, "admin"],
  ["admin/vhosts/:name", vhostPage, "admin"],
  ["admin/policies", policiesPage, "admin"],
  ["admin/shovels", shovelsPage, "admin"],
  ["admin/shovels/:vhost/:name", shovelPage, "admin"],
  ["admin/logins", loginsPage, "admin"],
  ["admin/parameters", parametersPage, "admin"],
  ["admin/definitions", definitionsPage, "admin"],
  ["admin/settings", settingsPage, "admin"],
];
