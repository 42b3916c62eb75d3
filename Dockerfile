# syntax=docker/dockerfile:1
# Holdfast, either role: the environment says which. Not root, and nothing is written outside of /var/lib/holdfast and /tmp.

FROM node:20-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json tsconfig.json ./
# `npm ci` refuses a lock with packages for other platforms in it; the versions are exact all the same.
RUN npm install --ignore-scripts --no-audit --no-fund
COPY build ./build
COPY src ./src
RUN npm run build && npm prune --omit=dev --ignore-scripts --no-audit --no-fund
# The SDK of the database is an optional peer. Its sources in C++ are not needed to run it.
RUN npm install --no-save --omit=dev --ignore-scripts --no-audit --no-fund couchbase@4.7.1 \
  && rm -rf node_modules/couchbase/deps node_modules/couchbase/src node_modules/couchbase/tools node_modules/couchbase/CMakeLists.txt

FROM node:20-bookworm-slim
ENV NODE_ENV=production HOLDFAST_DATA=/var/lib/holdfast
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY docker/healthcheck.mjs ./docker/
RUN install -d -o node -g node -m 0700 /var/lib/holdfast /enrol && ln -s /app/dist/main.js /usr/local/bin/holdfast && chmod +x dist/main.js
USER node
VOLUME /var/lib/holdfast
EXPOSE 8080 8081 7443
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s CMD ["node", "docker/healthcheck.mjs"]
ENTRYPOINT ["holdfast"]
CMD ["serve"]
