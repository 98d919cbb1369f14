"""Would a search scale past this machine? Its scheduler on recorded events, and what storages cost a trial."""
